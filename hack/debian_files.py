"""Files of Debian packages as their .deb has them, of any architecture, whatever is installed here.

apt fetches and verifies, with the machine's sources and keys but lists and a cache of our own, so neither root's rights nor
the machine's set of packages matter. Lists are a day old at most, where they can be fetched.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import pathlib
import re
import subprocess
import time

LISTS_AGE_MAX_S = 24 * 3600
APT_CONFIG = """\
Dir::State "{0}";
Dir::State::lists "{0}/lists";
Dir::State::status "{0}/status";
Dir::Cache "{0}";
Dir::Etc::preferences "{0}/preferences";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "{1}";
APT::Architectures {{ "{1}"; }};
APT::Sandbox::User "{2}";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
"""
# Other sources of the machine have no part in it.
PREFERENCES = "Package: *\nPin: release o=Debian\nPin-Priority: 500\n\nPackage: *\nPin: release o=*\nPin-Priority: -1\n"


class ImageError(Exception):
    """What is wrong, and what to do."""


def run(command, what, **options):
    """Its stdout, as text."""
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, **options)
    if done.returncode != 0:
        raise ImageError(f"{what}: {' '.join(map(str, command[:3]))} failed: {done.stderr.strip()[-800:]}")
    return done.stdout


def say(text):
    print(text, flush=True)


@dataclasses.dataclass
class Package:
    name: str
    deb: pathlib.Path
    sha256: str
    folder: pathlib.Path  # its files
    control: str  # its stanza, as dpkg prints it
    fields: dict  # of that; the first line of each

    @property
    def version(self):
        return self.fields["Version"]

    def source(self):
        """(name, version) of the source package."""
        found = re.fullmatch(r"(\S+)(?: \((\S+)\))?", self.fields.get("Source", self.name))
        return found[1], found[2] or self.version


class Debian:
    """Debian's packages for one architecture. folder: what is kept between runs."""

    def __init__(self, architecture, folder):
        self.architecture, self.folder = architecture, folder
        self.debs = folder / "debs"
        self.config = folder / "apt.conf"

    @contextlib.contextmanager
    def locked(self):
        """One run at a time."""
        self.debs.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (self.folder / "lists/partial").mkdir(parents=True, exist_ok=True)
            (self.folder / "status").write_text("")
            (self.folder / "preferences").write_text(PREFERENCES)
            user = "root" if os.geteuid() == 0 else "_apt"
            self.config.write_text(APT_CONFIG.format(self.folder, self.architecture, user))
            yield

    def apt(self, *command, cwd=None):
        environment = os.environ | {"APT_CONFIG": str(self.config), "LC_ALL": "C.UTF-8"}
        return run(command, f"packages for {self.architecture}", env=environment, cwd=cwd)

    def update(self, now):
        """Fetches the lists of packages, where those here are missing or old."""
        stamp = self.folder / "lists-fetched"
        if stamp.exists() and not now and time.time() - stamp.stat().st_mtime < LISTS_AGE_MAX_S:
            return
        say(f"Fetching Debian's lists of packages for {self.architecture}")
        try:
            self.apt("apt-get", "update", "--error-on=any")
        except ImageError as error:
            # Another source of this machine may be what failed. A package that is missing is told of by its name.
            if not any((self.folder / "lists").glob("*Packages*")):
                raise
            say(f"Not all can be fetched, so those that are here have to do. ({error})")
            return
        stamp.touch()

    def closure(self, names):
        """names, and all libraries that those depend on."""
        relations = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
        said = self.apt("apt-cache", "depends", "--recurse", *(f"--no-{r}" for r in relations), *names)
        found = {line for line in said.splitlines() if re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", line)}
        return sorted(set(names) | {name for name in found if name.startswith("lib")})

    def fetch(self, names):
        """[(file, SHA-256)] of the newest version of each, checked."""
        wanted = []
        for line in self.apt("apt-get", "download", "--print-uris", *names).splitlines():
            found = re.fullmatch(r"'[^']+' (\S+) \d+ SHA256:([0-9a-f]{64})", line)
            if found:
                wanted.append((found[1].split("_")[0], self.debs / found[1], found[2]))
        missing = [name for name, path, digest in wanted if digest_of(path) != digest]
        if missing:
            say(f"Fetching {len(missing)} of {len(wanted)} packages for {self.architecture}")
            self.apt("apt-get", "download", *missing, cwd=self.debs)
        for _, path, digest in wanted:
            if digest_of(path) != digest:
                raise ImageError(f"{path} is not what Debian's lists say: remove it and run this again")
        unknown = set(names) - {name for name, _, _ in wanted}
        if unknown:
            raise ImageError(f"apt tells nothing of {', '.join(sorted(unknown))}: images are made of Debian 12's packages")
        return [(path, digest) for _, path, digest in wanted]

    def unpack(self, debs, folder):
        """{name: Package}, their files in folder."""
        packages = {}
        for deb, digest in debs:
            control = run(["dpkg-deb", "--field", deb], "a package")
            fields = dict(re.findall(r"^([A-Za-z0-9-]+): *(.*)$", control, re.M))
            name = fields["Package"]
            target = folder / name
            target.mkdir(parents=True)
            run(["dpkg-deb", "--extract", deb, target], "a package")
            packages[name] = Package(name, deb, digest, target, control, fields)
        return packages


def digest_of(path):
    """A file's SHA-256, "" where there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""
