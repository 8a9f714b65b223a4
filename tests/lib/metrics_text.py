"""What /metrics says, taken apart; and what docs/observability.md says of it."""

import dataclasses
import pathlib
import re
import subprocess

from tap import equal

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/observability.md"
ROW = re.compile(r"^\| `([a-z_0-9]+)` \| (counter|gauge|histogram) \| (.*?) \| (webhook|controller|both) \| (.*) \|$", re.M)
SAMPLE = re.compile(r"([a-z_0-9]+)(?:\{(.*)\})? \S+")
NAME = re.compile(r'"(?:[^"\\]|\\.)*"|\b[a-z_][a-z_0-9]*_[a-z_0-9]*\b')
PARTS = ("_bucket", "_sum", "_count")


@dataclasses.dataclass
class Family:
    """A metric: labels are those of all its series, without a histogram's le; None where it has no series."""

    kind: str
    help: str
    labels: set = None
    series: int = 0


def read(text):
    """{name: Family}."""
    found = {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            _, _, name, words = line.split(" ", 3)
            found[name] = Family("", words)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            found[name].kind = kind
        else:
            sample, labels = SAMPLE.fullmatch(line).groups()
            family = found[base_of(sample, found)]
            names = {pair.split("=")[0] for pair in re.findall(r'[a-z_]+="(?:[^"\\]|\\.)*"', labels or "")} - {"le"}
            family.labels = (family.labels or set()) | names
            family.series += 1
    return found


def base_of(name, families):
    """A histogram's name, of the name of one of its series."""
    for part in PARTS:
        if name.endswith(part) and name.removesuffix(part) in families:
            return name.removesuffix(part)
    return name


def documented():
    """{name: (Family, program)}, as the tables of the page say."""
    found = {}
    for name, kind, labels, program, words in ROW.findall(PAGE.read_text()):
        assert name not in found, f"{name} is there twice"
        found[name] = Family(kind, words.replace("\\|", "|"), set(re.findall(r"`([a-z_]+)`", labels))), program
    return found


def used_in(expression):
    """The metrics that a query reads: whatever looks like the name of one and isn't text or a label."""
    bare = re.sub(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)", "", expression)
    bare = re.sub(r"\{[^}]*\}", "", bare)
    return {n for n in NAME.findall(bare) if not n.startswith('"')} - {"histogram_quantile", "__rate_interval", "rate_interval"}


def check_by_promtool(text):
    """That Prometheus reads it, and finds nothing to say about its names."""
    promtool = subprocess.run([ROOT / "hack/promtool.sh"], capture_output=True, text=True, check=True).stdout.strip()
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    equal((done.returncode, done.stdout, done.stderr), (0, "", ""), "what promtool check metrics says")
