"""An image unpacked by umoci, and its program run in there as a container runtime would: as the image's user, without rights,
the root read-only, in a mount namespace. Without root's rights a user namespace has to do, whose user is the tester."""

import dataclasses
import hashlib
import json
import os
import pathlib
import shlex
import stat
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests/lib"), str(ROOT / "tests/e2e")]

from cluster import Proc
from container import namespace_command, user_options
from tap import check, equal

RUNTIME_FOLDERS = ("dev", "proc", "sys")  # a container runtime makes these
DEVICES = ("dev/null", "dev/zero", "dev/random", "dev/urandom")


@dataclasses.dataclass
class Entry:
    mode: int
    content: bytes

    @property
    def sha256(self):
        return hashlib.sha256(self.content).hexdigest()


def listed(root):
    """{path: Entry} of all files below root, and [(path, mode)] of what is neither a file nor a folder."""
    files, others = {}, []
    for folder, folders, names in os.walk(root):
        for name in folders + names:
            path = pathlib.Path(folder, name)
            mode = path.lstat().st_mode
            inside = str(path.relative_to(root))
            if stat.S_ISREG(mode):
                files[inside] = Entry(mode, path.read_bytes())
            elif not stat.S_ISDIR(mode):
                others.append((inside, mode))
            else:
                check(stat.S_IMODE(mode) == 0o755, f"/{inside} has mode {mode:o}")
    return files, others


class Unpacked:
    """images: the folder that hack/images.py wrote; folder: for this one."""

    def __init__(self, images, name, version, architecture, folder):
        self.name, self.version, self.folder = name, version, folder
        self.layout = images / name
        bundle = folder / "bundle"
        rootless = [] if os.geteuid() == 0 else ["--rootless"]
        command = ["umoci", "unpack", *rootless, "--image", f"{self.layout}:{version}", bundle]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        equal((done.returncode, done.stderr), (0, ""), f"umoci unpack of {name}")
        self.root = bundle / "rootfs"
        self.files, self.others = listed(self.root)
        self.sbom = json.loads((images / f"{name}-{version}-{architecture}.spdx.json").read_text())
        self.descriptor = json.loads((self.layout / "index.json").read_text())["manifests"][0]
        self.manifest = self.blob(self.descriptor)
        self.config = self.blob(self.manifest["config"])
        for name in RUNTIME_FOLDERS:
            (self.root / name).mkdir()

    def blob(self, descriptor):
        return json.loads((self.layout / "blobs" / descriptor["digest"].replace(":", "/")).read_text())

    def command(self, *arguments, mounts=(), program=None):
        """mounts: (source, path in the container), read-only. program: in place of the image's entrypoint."""
        quoted = shlex.quote(str(self.root))
        lines = ["set -e", f"mount --bind {quoted} {quoted}"]
        for source, path in [("/proc", "proc"), *((f"/{device}", device) for device in DEVICES), *mounts]:
            target = self.root / path
            if not pathlib.Path(source).is_dir():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.touch()
            else:
                target.mkdir(parents=True, exist_ok=True)
            lines.append(f"mount --{'r' if path == 'proc' else ''}bind {shlex.quote(str(source))} {shlex.quote(str(target))}")
        lines.append(f"mount -o remount,bind,ro {quoted}")
        user = self.config["config"]["User"].split(":")[0] if user_options() else "0"
        argv = [program] if program else self.config["config"]["Entrypoint"]
        lines.append(f"exec {sys.executable} {HERE}/launch.py {quoted} {user} {shlex.join([*argv, *map(str, arguments)])}")
        return [*namespace_command(), "/bin/sh", "-c", "\n".join(lines)]

    def environment(self):
        return dict(pair.split("=", 1) for pair in self.config["config"]["Env"])

    def run(self, *arguments, **options):
        """(status, stdout, stderr) of a program that ends by itself."""
        command = self.command(*arguments, **options)
        environment = self.environment() | {"PATH": os.environ["PATH"]}
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL, env=environment
        )
        return done.returncode, done.stdout, done.stderr

    def start(self, *arguments, **options):
        environment = self.environment() | {"PATH": os.environ["PATH"]}
        return Proc(self.name, self.command(*arguments, **options), self.folder / "log", environment)
