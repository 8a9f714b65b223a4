#!/usr/bin/python3
"""Makes an OCI image of each program: see hack/images.sh, which installs what this needs, and docs/images.md.

    hack/images.py [--programs ARCH=DIR]... [--out DIR] [--rootfs] [NAME...]
"""

import argparse
import dataclasses
import datetime
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import oci
import spdx
from debian_files import Debian, ImageError, run, say

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCES = ("common", "webhook", "controller", "cli")  # a new file there is built as well
USER = "65532:65532"  # in numbers: what checks runAsNonRoot reads no /etc/passwd
OURS = "coco-pipelines"
# The libraries that programs are linked with; what those need follows from them.
PACKAGES = "libc6 libcurl4 libgnutls30 libjansson4 libmicrohttpd12 libssl3 libwebsockets17 libyaml-0-2 zlib1g".split()
# /etc/os-release and the texts of licences.
BASE = "base-files"
GENERATED = {
    "etc/passwd": "root:x:0:0:root:/:/nonexistent\ncoco:x:65532:65532:coco-pipelines:/:/nonexistent\n",
    "etc/group": "root:x:0:\ncoco:x:65532:\n",
    # As in Debian. Without it, the C library asks DNS before it reads /etc/hosts, which hostAliases are in.
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


@dataclasses.dataclass
class Image:
    title: str
    description: str
    ports: tuple = ()


IMAGES = {
    "coco-webhook": Image(
        "coco-pipelines webhook",
        "Admission webhook that makes Tekton's TaskRun pods confidential",
        (8080, 9443),
    ),
    "coco-controller": Image(
        "coco-pipelines controller",
        "Turns TrusteeConfig and KbsConfig resources into a running Trustee, and reports on ConfidentialProfiles",
        (8080,),
    ),
    "cocopipe": Image("cocopipe", "Command line of coco-pipelines"),
}


@dataclasses.dataclass
class Architecture:
    name: str  # Debian's and OCI's: they agree on these
    triplet: str
    machine: str  # as readelf prints it


ARCHITECTURES = {
    a.name: a
    for a in (
        Architecture("amd64", "x86_64-linux-gnu", "Advanced Micro Devices X86-64"),
        Architecture("arm64", "aarch64-linux-gnu", "AArch64"),
    )
}


@dataclasses.dataclass
class Build:
    """What is the same for all images of a run."""

    version: str
    revision: str
    epoch: int  # seconds since 1970: no file is newer

    @property
    def created(self):
        return datetime.datetime.fromtimestamp(self.epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


# ---- What a program needs


def read_elf(path):
    """(machine, loader or None, libraries that it names)."""
    said = run(["readelf", "--wide", "--file-header", "--program-headers", "--dynamic", path], "a program's libraries")
    machine = re.search(r"^\s*Machine:\s*(.*)$", said, re.M)[1].strip()
    loader = re.search(r"Requesting program interpreter: (.*)\]", said)
    return machine, loader[1].lstrip("/") if loader else None, re.findall(r"\(NEEDED\).*\[(.*)\]", said)


def check_program(program, architecture):
    if not program.is_file():
        raise ImageError(f"{program} isn't there: build it first (make build), or say where it is by --programs")
    machine = read_elf(program)[0]
    if machine != architecture.machine:
        raise ImageError(f"{program} is a program for {machine}, not for {architecture.name}: say where another is by --programs")


class Tree:
    """The files of unpacked packages by their paths, each with its package's name."""

    def __init__(self, packages):
        self.packages = packages
        self.owners = {}
        for package in packages.values():
            for folder, folders, files in os.walk(package.folder):
                for name in files + folders:
                    path = pathlib.Path(folder, name)
                    if path.is_symlink() or not path.is_dir():
                        self.owners[str(path.relative_to(package.folder))] = package

    def take(self, path, epoch):
        """The regular file that a path leads to: an image has no symbolic links."""
        for _ in range(8):
            package = self.owners.get(path)
            if package is None:
                break
            here = package.folder / path
            if not here.is_symlink():
                return oci.File(here.read_bytes(), min(int(here.stat().st_mtime), epoch), package.name)
            target = os.readlink(here)
            path = os.path.normpath(target.lstrip("/") if target.startswith("/") else os.path.join(os.path.dirname(path), target))
        raise ImageError(f"no package of {', '.join(self.packages)} has the file /{path}")

    def library(self, name, triplet):
        for folder in (f"lib/{triplet}", f"usr/lib/{triplet}"):
            if f"{folder}/{name}" in self.owners:
                return f"{folder}/{name}"
        raise ImageError(f"{name} is in none of the packages that hack/images.py knows: add the one that has it to PACKAGES")


def libraries(program, tree, architecture, epoch):
    """{path: File} of all that the program loads."""
    _, loader, wanted = read_elf(program)
    files = {loader: tree.take(loader, epoch)}
    files[loader].executable = True
    seen = {os.path.basename(loader)}
    while wanted:
        name = wanted.pop()
        if name not in seen:
            seen.add(name)
            path = tree.library(name, architecture.triplet)
            files[path] = tree.take(path, epoch)
            wanted += read_elf(os.path.realpath(tree.owners[path].folder / path))[2]
    return files


def paperwork(files, tree, epoch):
    """{path: File} beside the libraries: licences, and what tells scanners which packages these are."""
    made = {path: tree.take(path, epoch) for path in ("usr/lib/os-release", "etc/os-release")}
    names = {file.package for file in files.values()} | {BASE}
    for name in sorted(names):
        made[f"usr/share/doc/{name}/copyright"] = tree.take(f"usr/share/doc/{name}/copyright", epoch)
    texts = b"\n".join(file.content for path, file in made.items() if path.endswith("/copyright"))
    for licence in sorted(set(re.findall(rb"/usr/share/common-licenses/([A-Za-z0-9-]+(?:\.[0-9]+)*)", texts))):
        path = f"usr/share/common-licenses/{licence.decode()}"
        made[path] = tree.take(path, epoch)
    newest = max(file.mtime for file in [*files.values(), *made.values()])
    for name in sorted(names):
        control = tree.packages[name].control.encode()
        made[f"var/lib/dpkg/status.d/{name}"] = oci.File(control, newest, OURS)
    for path, text in GENERATED.items():
        made[path] = oci.File(text.encode(), newest, OURS)
    return made


def stripped(program, architecture, folder):
    """The program without what only a debugger reads. The build ID goes too: it is of that, and so of the folder built in."""
    target = folder / program.name
    command = [f"{architecture.triplet}-strip", "--strip-all", "--remove-section=.note.gnu.build-id", "-o", target, program]
    run(command, f"{program} for {architecture.name}")
    return target.read_bytes()


# ---- The images


def labels(name, build):
    image = IMAGES[name]
    return {
        "org.opencontainers.image.title": image.title,
        "org.opencontainers.image.description": image.description,
        "org.opencontainers.image.version": build.version,
        "org.opencontainers.image.revision": build.revision,
        "org.opencontainers.image.created": build.created,
    }


def config(name, build):
    ports = {f"{port}/tcp": {} for port in IMAGES[name].ports}
    return {
        "User": USER,
        "Entrypoint": [f"/usr/bin/{name}"],
        "Env": ["PATH=/usr/bin"],
        "WorkingDir": "/",
        "Labels": labels(name, build),
    } | ({"ExposedPorts": ports} if ports else {})


def layers(program, tree, architecture, build, folder):
    """[{path: File}]: what is Debian's, which stays the same from release to release, and the program."""
    files = libraries(program, tree, architecture, build.epoch)
    files |= paperwork(files, tree, build.epoch)
    own = oci.File(stripped(program, architecture, folder), build.epoch, OURS, executable=True)
    return [files, {f"usr/bin/{program.name}": own}]


def trees(architecture, cache, refresh, folder):
    """The packages for an architecture, fetched and unpacked in folder."""
    debian = Debian(architecture.name, cache / architecture.name)
    with debian.locked():
        debian.update(refresh)
        debs = debian.fetch([*debian.closure(PACKAGES), BASE])
        return Tree(debian.unpack(debs, folder))


def write_roots(contents, out):
    """{(name, architecture): layers} as folders: what a Containerfile copies."""
    for (name, _), parts in contents.items():
        root = out / name
        shutil.rmtree(root, ignore_errors=True)
        for path, file in (pair for part in parts for pair in part.items()):
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.content)
            target.chmod(0o755 if file.executable else 0o644)
            os.utime(target, (file.mtime, file.mtime))
        say(f"{root}")


def write_image(name, contents, packages, build, out):
    """contents: {architecture's name: layers}; packages: {architecture's name: {name: Package}}. Returns the digest."""
    layout = oci.Layout()
    history = ("files of Debian packages, by hack/images.sh", f"{name} {build.version}")
    for architecture, parts in sorted(contents.items()):
        annotations = labels(name, build)
        platform = layout.add_image(architecture, parts, config(name, build), history, build.created, annotations)
        stem = f"{name}-{build.version}-{architecture}"
        (out / f"{stem}.tar").write_bytes(layout.archive(platform, name, build.version, build.epoch))
        files = parts[0] | parts[1]
        sbom = spdx.document(
            name, build.version, architecture, platform["digest"], build.created, files, packages[architecture], OURS
        )
        (out / f"{stem}.spdx.json").write_bytes(oci.dumped(sbom) + b"\n")
        size = sum(len(file.content) for file in files.values())
        say(f"  {stem}: {len(files)} files, {size / 1e6:.1f} MB, compressed {(out / f'{stem}.tar').stat().st_size / 1e6:.1f} MB")
    top = layout.top(labels(name, build))
    layout.write(out / name, top, name, build.version)
    return top["digest"]


# ---- The command


def cache_folder():
    """What is kept between runs: in a folder of hack/pyenv.sh's and hack/kube-build.sh's."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(os.environ.get("COCO_CACHE") or f"{home}/coco-pipelines").absolute() / "images"


def git(*command):
    done = subprocess.run(["git", "-C", ROOT, *command], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def this_build():
    """Of the commit, or as the environment says where there is none."""
    version = re.search(r'COCO_VERSION "(.*)"', (ROOT / "common/version.h").read_text())[1]
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct")
    if not epoch or not epoch.isdecimal():
        raise ImageError("this tree is no clone, so set SOURCE_DATE_EPOCH to the release's time, in seconds since 1970")
    revision = os.environ.get("REVISION")
    if not revision:
        changed = git("status", "--porcelain", "--", "Makefile", "hack", *SOURCES)
        revision = (git("rev-parse", "HEAD") or "unknown") + ("-dirty" if changed else "")
    return Build(version, revision, int(epoch))


def parse_arguments():
    parser = argparse.ArgumentParser(description="Makes an OCI image of each program from Debian packages.")
    native = run(["dpkg", "--print-architecture"], "this machine").strip()
    where = f"where programs for ARCH are; amd64 or arm64 (default {native}=build/bin)"
    parser.add_argument("--programs", action="append", metavar="ARCH=DIR", help=where)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/images", help="where images go (default build/images)")
    parser.add_argument("--rootfs", action="store_true", help="write each image's files as a folder, and no image")
    parser.add_argument("--refresh", action="store_true", help="ask for newer packages, even if that was done today")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these of {', '.join(IMAGES)}")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - IMAGES.keys()
    if unknown:
        parser.error(f"no image {', '.join(sorted(unknown))}; known: {', '.join(IMAGES)}")
    folders = {}
    for given in arguments.programs or [f"{native}={ROOT / 'build/bin'}"]:
        name, _, folder = given.partition("=")
        if name not in ARCHITECTURES or not folder:
            parser.error(f"--programs {given}: give amd64=DIR or arm64=DIR")
        folders[name] = pathlib.Path(folder)
    if arguments.rootfs and len(folders) > 1:
        parser.error("--rootfs takes programs for one architecture")
    return arguments, folders


def main():
    arguments, folders = parse_arguments()
    build = this_build()
    names = arguments.names or list(IMAGES)
    for arch, programs in folders.items():
        for name in names:
            check_program(programs / name, ARCHITECTURES[arch])
    contents, packages = {}, {}
    with tempfile.TemporaryDirectory() as temporary:
        for arch, programs in folders.items():
            folder = pathlib.Path(temporary, arch)
            tree = trees(ARCHITECTURES[arch], cache_folder(), arguments.refresh, folder / "packages")
            packages[arch] = tree.packages
            for name in names:
                contents[name, arch] = layers(programs / name, tree, ARCHITECTURES[arch], build, folder)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.rootfs:
        write_roots(contents, arguments.out)
        return
    say(f"Images of {build.version}, commit {build.revision}, in {arguments.out}:")
    lines = []
    for name in names:
        mine = {arch: parts for (image, arch), parts in contents.items() if image == name}
        lines.append(f"{name}:{build.version}@{write_image(name, mine, packages, build, arguments.out)}")
    (arguments.out / "digests").write_text("\n".join(lines) + "\n")
    say("\n".join(lines))


if __name__ == "__main__":
    try:
        main()
    except ImageError as error:
        sys.exit(f"hack/images.py: {error}")
