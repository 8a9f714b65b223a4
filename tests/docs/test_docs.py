#!/usr/bin/env python3
"""What docs/ says of the tree is so: the reference is what CRDs and --help say, links lead somewhere. test_docs.py BIN"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))
from tap import check, equal, main, test  # noqa: E402

BIN = sys.argv.pop(1)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = re.compile(r"^```.*?^```|^(?: {4}|\t).*?$", re.M | re.S)


def prose(path):
    """A page without what stands in code blocks."""
    return CODE.sub("", path.read_text())


def anchors(path):
    """What a link to the page's headings may name, as GitHub makes it of them."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", prose(path), re.M):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        same = sum(1 for one in found if one == anchor or re.fullmatch(re.escape(anchor) + r"-\d+", one))
        found.add(f"{anchor}-{same}" if same else anchor)
    return found


@test("the reference says what CRDs and --help say")
def _():
    done = subprocess.run([sys.executable, ROOT / "hack/docs.py", "--bin", BIN, "--check"], capture_output=True, text=True,
                          check=False)
    equal((done.returncode, done.stdout + done.stderr), (0, ""), "hack/docs.py --check; run: make docs")


@test("links lead somewhere")
def _():
    wrong = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            there = (page.parent / path).resolve() if path else page
            if not there.exists():
                wrong.append(f"{page.relative_to(ROOT)}: {target} is not there")
            elif anchor and there.suffix == ".md" and anchor not in anchors(there):
                wrong.append(f"{page.relative_to(ROOT)}: {target} is no heading of it")
    equal(wrong, [], "links")


@test("the map has every page, or its folder")
def _():
    folder = ROOT / "docs"
    text = (folder / "README.md").read_text()
    pages = [page.relative_to(folder) for page in PAGES if page.is_relative_to(folder) and page != folder / "README.md"]
    equal([str(page) for page in pages
           if not any(f"({name}" in text for name in (page, f"{page.parent}/)", f"{page.parent}/README.md)"))], [], "pages")


@test("files that pages name are there")
def _():
    wrong = []
    for page in PAGES:
        for path in re.findall(r"(?<![\w./-])((?:manifests|hack|crds|tests|common|controller|webhook|cli)/[\w./-]*[\w-])",
                               page.read_text()):
            # A module is named without .c and .h; NAME and the like stand for something else.
            there = any((ROOT / (path + ending)).exists() for ending in ("", ".c", ".h"))
            if not there and not re.search(r"[A-Z]{2}", path):
                wrong.append(f"{page.relative_to(ROOT)}: {path}")
    equal(wrong, [], "files that are not there")


@test("the tests that show what threat-model.md promises are there")
def _():
    promises = (ROOT / "docs/threat-model.md").read_text().split("## Promises")[1]
    named = [name for row in re.findall(r"^\| [^|]+ \| (\".*) \|$", promises, re.M) for name in re.findall(r'"([^"]+)"', row)]
    sources = "".join(path.read_text() for folder in ("tests", "hack") for path in sorted((ROOT / folder).rglob("*.py")))
    check(len(named) >= 20, f"only {len(named)} tests are named")
    equal([name for name in named if f'"{name}"' not in sources], [], "promises whose tests are not there")


# ---- troubleshooting.md: texts by their pieces, as "..." stands for what differs

TROUBLESHOOTING = ROOT / "docs/troubleshooting.md"
CALLS = r"\b(?:deny|decision_deny|refuse|object_to)\("
WORD = re.compile(r"[A-Z][A-Za-z]+")


def c_files(*folders):
    return [path for folder in folders for path in sorted((ROOT / folder).glob("*.c"))]


def literals(text):
    """Each run of string literals and macros in C as one text, "..." in place of macros and conversions."""
    for run in re.findall(r'(?:[A-Z_]+\s+)?"(?:[^"\\\n]|\\.)*"(?:\s*(?:"(?:[^"\\\n]|\\.)*"|[A-Z][A-Z_]+\b(?!\()))*', text):
        pieces = re.findall(r'"((?:[^"\\\n]|\\.)*)"|([A-Z][A-Z_]+)', run)
        joined = "".join(re.sub(r"\\(.)", r"\1", text) if not macro else "..." for text, macro in pieces)
        yield re.sub(r"%[-0-9.*]*(?:ll|z)?[a-zA-Z]", "...", joined)


def arguments(text, start):
    """What stands between the parenthesis at start and its partner."""
    depth, at, quoted = 0, start, False
    while True:
        c = text[at]
        if c == "\\":
            at += 1
        elif c == '"':
            quoted = not quoted
        elif not quoted and c in "()":
            depth += 1 if c == "(" else -1
            if depth == 0:
                return text[start + 1:at]
        at += 1


def pieces(text):
    return [piece for piece in re.split(r"(?:\.\.\.)+", text) if piece.strip(" .")]


def says(message, text):
    """Whether a message of the sources has all pieces of a text, in their order."""
    at = 0
    for piece in pieces(text):
        at = message.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return True


def documented():
    """The texts in the first column of tables whose first column is one of texts, and the words in the second one."""
    texts, words, in_table = [], [], False
    for line in TROUBLESHOOTING.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        in_table = bool(cells) and (in_table or cells[0] == "text")
        if in_table:
            texts += re.findall(r"`([^`]*)`", cells[0])
            words += WORD.findall(cells[1])
    return [text for text in texts if " " in text], words


def denials():
    """(cause, message or None) of all that the webhook refuses with a text of its own."""
    for path in c_files("webhook"):
        text = path.read_text()
        for call in re.finditer(CALLS, text):
            found = list(literals(arguments(text, call.end() - 1)))
            causes = [n for n, one in enumerate(found) if WORD.fullmatch(one)]
            for n in causes:
                messages = [one for one in found[n + 1:] if " " in one]
                yield found[n], messages[0] if messages else None
        for cause in re.findall(r'\.invalid = "([A-Za-z]+)"', text):
            yield cause, None


def reasons():
    """Of conditions, as the controller gives them."""
    texts = [path.read_text() for path in c_files("controller")]
    # Who takes a reason, by its parameter's name.
    takers = {name for text in texts for name in re.findall(r"^[\w *]+?\b(\w+)\([^;{)]*\bconst char \*reason\b", text, re.M)}
    for text in texts:
        for call in re.finditer(r"\b(?:" + "|".join(sorted(takers | {"remarks_add"})) + r")\(", text):
            yield from (one for one in literals(arguments(text, call.end() - 1)) if WORD.fullmatch(one))
        yield from re.findall(r'\.reason = "([A-Za-z]+)"', text)
        for function in re.findall(r"^static const char \*reason_of\(.*?^}", text, re.M | re.S):
            yield from (one for one in literals(function) if WORD.fullmatch(one))
    for path, name in (("common/certificate.c", "certificate_problem_names"), ("controller/pod_trouble.c", "reasons")):
        table = re.search(name + r"\[\] = \{(.*?)\}", (ROOT / path).read_text(), re.S)
        yield from re.findall(r'"([A-Za-z]+)"', table[1])


@test("each text in troubleshooting.md is one of the programs'")
def _():
    sources = [message for path in c_files("common", "common/kube", "webhook", "controller", "cli")
               for message in literals(path.read_text())]
    texts, _ = documented()
    check(len(texts) > 80, f"only {len(texts)} texts were found")
    equal([text for text in texts if not any(says(message, text) for message in sources)], [],
          "texts that no program prints")


@test("each refusal of the webhook is in troubleshooting.md, with its text")
def _():
    texts, words = documented()
    found = set(denials())
    check(len(found) > 20, f"only {len(found)} refusals were found")
    equal(sorted({cause for cause, _ in found if cause not in words}), [], "causes that the page lacks")
    equal(sorted(message for _, message in found if message is not None and pieces(message)
                 and not any(says(message, text) for text in texts)), [], "texts that the page lacks")


@test("each reason of a condition is explained")
def _():
    rows = [line for name in ("troubleshooting.md", "trustee.md", "profiles.md")
            for line in (ROOT / "docs" / name).read_text().splitlines() if line.startswith("|")]
    known = {word for row in rows for word in WORD.findall(row)}
    found = set(reasons()) - {"True", "False", "Unknown"}
    check(len(found) > 50, f"only {len(found)} reasons were found")
    equal(sorted(found - known), [], "reasons that docs/ lack")


main()
