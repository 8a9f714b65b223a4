#!/usr/bin/env python3
"""The examples of docs/cli.md, run as they stand: they print what is shown. test_docs.py [--update] COCOPIPE"""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "lib"))
from tap import check, equal, main, test  # noqa: E402

UPDATE = "--update" in sys.argv
if UPDATE:
    sys.argv.remove("--update")
COCOPIPE = os.path.abspath(sys.argv.pop(1))
PAGE = ROOT / "docs" / "cli.md"
TEXT = PAGE.read_text()
VARIES = [
    (re.compile(r"(sealed\.)[\w-]+\.[\w-]+\.[\w-]{86}"), r"\1…"),  # a signature differs each time
    (re.compile(r"open \S*/(no-such-file)"), r"open …/\1"),
    (re.compile(r'(cc_init_data","value":")[^"]+'), r"\1…"),  # long
]


@contextlib.contextmanager
def folder():
    """The sources' folder, as far as the examples use it, with the key that the page has people make."""
    with tempfile.TemporaryDirectory(prefix="coco-docs-") as path:
        here = pathlib.Path(path)
        (here / "bin").mkdir()
        (here / "bin" / "cocopipe").symlink_to(COCOPIPE)
        (here / "manifests").symlink_to(ROOT / "manifests")
        for command in re.findall(r"^    (openssl .*|cocopipe .*)$", TEXT, re.M):
            status, out = run(here, command)
            check(status == 0, f"{command}: {out}")
        yield here


def run(here, command):
    """(exit status, what goes to the terminal)."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("COCO_") and k != "KUBECONFIG"}
    done = subprocess.run(["bash", "-c", command], cwd=here, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60, check=False,
                          env=clean | {"PATH": f"{here}/bin:{os.environ['PATH']}", "HOME": str(here)})
    return done.returncode, done.stdout.decode()


def matches(shown, got):
    """Whether what is shown is what came, but for what … stands for."""
    return re.fullmatch(".*".join(map(re.escape, shown.split("…"))), got, re.S) is not None


def examples():
    """(command, what is shown) of each "$ command" in the page."""
    for block in re.findall(r"^```console\n(.*?)^```$", TEXT, re.M | re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, shown = part.partition("\n")
            yield command, shown


EXAMPLES = list(examples())

for _number, (_command, _shown) in enumerate(EXAMPLES):
    @test(f"docs/cli.md: {_command[:100]}")
    def _(here, command=_command, shown=_shown):
        _status, got = run(here, command)
        if UPDATE:
            for pattern, instead in VARIES:
                got = pattern.sub(instead, got)
            page = PAGE.read_text()
            PAGE.write_text(page.replace(f"$ {command}\n{shown}", f"$ {command}\n{got if got.endswith(chr(10)) else got + chr(10)}"))
            return
        check(matches(shown, got if got.endswith("\n") else got + "\n"), f"{command}\n  prints\n{got}\n  shown\n{shown}")


@test("docs/cli.md: each command has an example, and each option that it shows is there")
def _(here):
    _status, out = run(here, "cocopipe --help")
    commands = re.findall(r"^  (\w+) ", out, re.M)
    missing = [c for c in commands if not any(f"cocopipe {c}" in command for command, _shown in EXAMPLES)]
    equal(missing, [], "commands without an example")
    check(all(f"## {c}" in TEXT for c in commands), "a command without a chapter")


main(folder())
