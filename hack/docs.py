#!/usr/bin/env python3
"""Writes docs/reference/ from what it describes, so that it can't differ: `make docs`.

    hack/docs.py [--bin DIR]            writes the files that differ, and names them
    hack/docs.py [--bin DIR] --check    writes nothing; names those that are stale, with status 1

| file | of |
|---|---|
| docs/reference/confidentialprofile.md, trusteeconfig.md, kbsconfig.md | crds/ |
| docs/reference/coco-webhook.md, coco-controller.md, cocopipe.md | --help of the programs in DIR, by default build/bin |

Needs PyYAML.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
MADE = "<!-- Written by `make docs` from {}: edit that instead. -->\n"
PROGRAMS = ("coco-webhook", "coco-controller", "cocopipe")
# What the upstream trustee-operator's kinds have; all else is ours.
UPSTREAM = {
    "TrusteeConfig": {"profileType", "httpsSpec", "attestationTokenVerificationSpec", "kbsServiceType", "ibmSE", "tlsConfig"},
    "KbsConfig": {
        "kbsConfigMapName", "kbsAsConfigMapName", "kbsRvpsConfigMapName", "kbsRvpsRefValuesConfigMapName", "kbsAuthSecretName",
        "kbsHttpsKeySecretName", "kbsHttpsCertSecretName", "kbsAttestationKeySecretName", "kbsAttestationCertSecretName",
        "kbsServiceType", "kbsDeploymentType", "kbsSecretResources", "kbsAttestationPolicyConfigMapName",
        "kbsGpuAttestationPolicyConfigMapName", "kbsResourcePolicyConfigMapName", "ibmSEConfigSpec", "KbsEnvVars",
        "kbsLocalCertCacheSpec", "KbsDeploymentSpec",
    },
}
GUIDES = {"ConfidentialProfile": "profiles.md", "TrusteeConfig": "trustee.md", "KbsConfig": "trustee.md"}


# ---- CRDs


def cell(text):
    """A text as a table's cell, in which nothing is markup or another column."""
    return re.sub(r"\s+", " ", str(text)).strip().replace("|", "\\|").replace("<", "&lt;")


def code(value):
    return "`" + (value if isinstance(value, str) and value != "" else json.dumps(value)) + "`"


def type_of(schema):
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if "type" not in schema:
        # Without a type, so that false, or a number, is taken too.
        return "string" if "enum" in schema else "quantity"
    if schema["type"] == "array":
        return "list of " + type_of(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        return "map of " + type_of(schema["additionalProperties"])
    return schema["type"]


def range_of(low, high):
    """A condition on a number of things, as far as there is one."""
    if low is not None and high is not None:
        return f"{low} to {high}"
    return f"at least {low}" if low is not None else f"at most {high}" if high is not None else None


def bounds_of(schema):
    """What else a value must be, in words; list items and map values as well."""
    words = []
    if "enum" in schema:
        # false stands for "Off", which YAML reads so where it isn't in quotes.
        words.append(", ".join(code(value) for value in schema["enum"] if value is not False))
    for low, high, unit in (("minimum", "maximum", ""), ("minLength", "maxLength", " characters"), ("minItems", "maxItems", " items"),
                            ("minProperties", "maxProperties", " entries")):
        bounds = range_of(schema.get(low), schema.get(high))
        if bounds is not None:
            words.append(bounds + unit)
    if schema.get("x-kubernetes-list-type") == "set":
        words.append("each once")
    if schema.get("x-kubernetes-list-type") == "map":
        words.append("one for each " + ", ".join(schema["x-kubernetes-list-map-keys"]))
    items = schema.get("items") or schema.get("additionalProperties")
    if isinstance(items, dict):
        words += [f"each {word}" for word in bounds_of(items) if "characters" not in word]
    return words


def fields(schema, path=""):
    """(path, its schema, whether it is required) of all fields below."""
    for name, one in schema.get("properties", {}).items():
        at = f"{path}.{name}" if path else name
        yield at, one, name in schema.get("required", [])
        below = one
        if one.get("type") == "array":
            at, below = at + "[]", one["items"]
        elif isinstance(one.get("additionalProperties"), dict):
            at, below = at + ".NAME", one["additionalProperties"]
        yield from fields(below, at)


def rules(schema, path):
    """(path, message) of all rules in CEL."""
    for rule in schema.get("x-kubernetes-validations", []):
        yield path, rule.get("message", rule["rule"])
    for name, one in schema.get("properties", {}).items():
        yield from rules(one, f"{path}.{name}" if path else name)
    if isinstance(schema.get("items"), dict):
        yield from rules(schema["items"], path + "[]")


def row(kind, path, schema, required, with_origin):
    kinds = [type_of(schema)] + bounds_of(schema)
    origin = ""
    if with_origin:
        top = re.split(r"[.\[]", path)[0]
        origin = f" {'upstream' if top in UPSTREAM[kind] else 'ours'} |"
    default = code(schema["default"]) if "default" in schema else "required" if required else ""
    if "description" not in schema:
        sys.exit(f"hack/docs.py: {kind}: field {path} has no description; write one in crds/")
    return f"| `{path}` | {cell('; '.join(kinds))} | {cell(default)} |{origin} {cell(schema['description'])} |"


def table(kind, schema, with_origin):
    origin = (" from |", "---|") if with_origin else ("", "")
    lines = [f"| field | type | default |{origin[0]} means |", f"|---|---|---|{origin[1]}---|"]
    lines += [row(kind, path, one, required, with_origin) for path, one, required in fields(schema)]
    return lines


def crd_page(path):
    crd = yaml.safe_load(path.read_text())["spec"]
    names, version = crd["names"], crd["versions"][0]
    kind, schema = names["kind"], version["schema"]["openAPIV3Schema"]
    lines = [
        MADE.format(f"crds/{path.name}"), f"# {kind}: all fields", "", cell(schema["description"]), "",
        f"`{crd['group']}/{version['name']}`, {crd['scope'].lower()}; `kubectl get {names['plural']}`, short name "
        f"`{'`, `'.join(names['shortNames'])}`, categories `{'`, `'.join(names['categories'])}`. "
        f"[{GUIDES[kind]}](../{GUIDES[kind]}) tells how to use it.", "", "## spec", "",
    ]
    if kind in UPSTREAM:
        lines += ["From: a field of the upstream trustee-operator's kind, or an addition of ours.", ""]
    lines += table(kind, schema["properties"]["spec"], kind in UPSTREAM)
    stated = list(rules(schema["properties"]["spec"], "spec")) + [
        ("metadata", rule["message"]) for rule in schema.get("x-kubernetes-validations", [])]
    if stated:
        lines += ["", "## Rules over several fields", "",
                  "Checked by the API server from Kubernetes 1.25 on, and by the webhook everywhere.", "", "| of | rule |", "|---|---|"]
        lines += [f"| `{at}` | {cell(message)} |" for at, message in stated]
    lines += ["", "## status", ""] + table(kind, schema["properties"]["status"], False)
    lines += ["", "## Columns of kubectl get", "", "| column | shows | |", "|---|---|---|"]
    lines += [f"| {one['name']} | `{cell(one['jsonPath'])}` | "
              f"{cell(one.get('description', ''))}{' With `-o wide`.' if one.get('priority') else ''} |"
              for one in version["additionalPrinterColumns"]]
    return "\n".join(lines) + "\n"


# ---- --help


def help_of(program, *words):
    # The environment sets options' defaults, and the defaults are what is shown.
    clean = {key: value for key, value in os.environ.items() if not key.startswith("COCO_")}
    done = subprocess.run([program, *words, "--help"], capture_output=True, text=True, check=False, env=clean)
    if done.returncode != 0:
        sys.exit(f"hack/docs.py: {program} {' '.join(words)} --help ended with {done.returncode}: {done.stderr.strip()}; "
                 "build it first: make build")
    return done.stdout


def commands_of(text):
    """The words under Commands:."""
    found = re.search(r"^Commands:\n((?:  .*\n)+)", text, re.M)
    return re.findall(r"^  (\S+)", found[1], re.M) if found else []


def option_rows(text):
    found = re.search(r"^Options:\n((?:  .*\n?)+)", text, re.M)
    for line in (found[1] if found else "").splitlines():
        match = re.match(r"  (?:(-\w), |    )--([\w-]+)(?: ((?:[A-Z][A-Z:]*)|\S+(?= )))?\s+(.*)$", line)
        if match is None:
            sys.exit(f"hack/docs.py: can't read this line of the help: {line}")
        letter, name, argument, means = match.groups()
        env = re.search(r" \[(COCO_\w+)\]$", means)
        means = means[:env.start()] if env else means
        default = re.search(r" \(default (.*)\)$", means)
        means = means[:default.start()] if default else means
        flags = (f"`{letter}`, " if letter else "") + f"`--{name}{' ' + argument if argument else ''}`"
        yield f"| {flags} | {'`' + cell(default[1]) + '`' if default else ''} | {'`' + env[1] + '`' if env else ''} | {cell(means)} |"


def help_section(text, level, name):
    usage = re.match(r"Usage: (.*)\n\n", text)
    about = text[usage.end():].split("\n\nOptions:" if "\nOptions:" in text else "\n\nCommands:")[0]
    lines = [f"{'#' * level} {name}", "", f"    {usage[1]}", ""]
    lines += [cell(line) for line in about.strip().splitlines()]
    rows = list(option_rows(text))
    if rows:
        lines += ["", "| option | default | environment | means |", "|---|---|---|---|"] + rows
    return lines + [""]


def program_sections(program, words, level):
    text = help_of(program, *words)
    lines = help_section(text, level, " ".join([program.name, *words]))
    for word in commands_of(text):
        lines += program_sections(program, [*words, word], level + 1)
    return lines


def program_page(folder, name):
    lines = [MADE.format(f"the help of {name}")] + program_sections(folder / name, [], 1)
    lines += ["The command line goes before the environment.", ""]
    return "\n".join(lines)


# ---- Writing


def pages(folder):
    """Path to text."""
    made = {}
    for path in sorted((ROOT / "crds").glob("*_*.yaml")):
        kind = yaml.safe_load(path.read_text())["spec"]["names"]["singular"]
        made[REFERENCE / f"{kind}.md"] = crd_page(path)
    for name in PROGRAMS:
        made[REFERENCE / f"{name}.md"] = program_page(folder, name)
    return made


def main():
    parser = argparse.ArgumentParser(description="Writes docs/reference/.")
    parser.add_argument("--bin", default="build/bin", help="where the programs are (default build/bin)")
    parser.add_argument("--check", action="store_true", help="write nothing, and name what is stale")
    args = parser.parse_args()
    made = pages(ROOT / args.bin)
    stale = [path for path, text in made.items() if not path.is_file() or path.read_text() != text]
    stale += [path for path in sorted(REFERENCE.glob("*")) if path not in made]
    for path in stale:
        print(path.relative_to(ROOT))
        if args.check:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if path in made:
            path.write_text(made[path])
        else:
            path.unlink()
    return 1 if args.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
