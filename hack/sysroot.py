#!/usr/bin/python3
"""Prints a folder with Debian's libraries and headers for another architecture, and makes it first if need be: sysroot.py ARCH

What hack/cross.sh compiles against. It lies in the cache, named by the packages in it.
"""

import hashlib
import re
import shutil
import sys

import images
from debian_files import Debian, ImageError, run


def development_packages():
    """Those of hack/deps.sh that programs are built with, but for tools."""
    text = (images.ROOT / "hack/deps.sh").read_text()
    listed = re.search(r"\[build\]=\"(.*)\"", text)[1].split()
    return [name for name in listed if name.endswith("-dev")]


def sysroot(architecture, cache):
    debian = Debian(architecture, cache / architecture)
    with debian.locked():
        debian.update(now=False)
        debs = debian.fetch(debian.closure([*development_packages(), *images.PACKAGES, "linux-libc-dev"]))
        name = hashlib.sha256("".join(digest for _, digest in debs).encode()).hexdigest()[:16]
        folder = cache / architecture / f"sysroot-{name}"
        if not folder.exists():
            made = folder.with_suffix(".new")
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir(parents=True)
            for deb, _ in debs:
                run(["dpkg-deb", "--extract", deb, made], "a package")
            made.rename(folder)
        return folder


if __name__ == "__main__":
    out, sys.stdout = sys.stdout, sys.stderr  # only the path is for the caller
    try:
        print(sysroot(sys.argv[1], images.cache_folder()), file=out)
    except ImageError as error:
        sys.exit(f"hack/sysroot.py: {error}")
