"""An OCI image layout, written so that the same content is the same bytes: no clock, no order of a folder, no user.

https://github.com/opencontainers/image-spec: a layout is a folder of blobs, each named by its SHA-256; index.json names the
manifest, which names a config and layers.
"""

import dataclasses
import functools
import gzip
import hashlib
import io
import json
import pathlib
import shutil
import tarfile

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
REF_NAME = "org.opencontainers.image.ref.name"


@dataclasses.dataclass
class File:
    """A regular file of an image; folders follow from paths, and there is nothing else."""

    content: bytes
    mtime: int
    package: str  # whose it is
    executable: bool = False


def dumped(tree):
    return json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def tar(files):
    """An uncompressed layer of {path: File}, paths without a leading slash."""
    folders = {str(parent) for path in files for parent in pathlib.PurePosixPath(path).parents} - {"."}
    newest = max(file.mtime for file in files.values())
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(folders | files.keys()):
            entry = tarfile.TarInfo(path)
            file = files.get(path)
            if file is None:
                entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, newest
                archive.addfile(entry)
            else:
                entry.mode, entry.mtime, entry.size = 0o755 if file.executable else 0o644, file.mtime, len(file.content)
                archive.addfile(entry, io.BytesIO(file.content))
    return out.getvalue()


@functools.cache
def compressed(plain):
    """Programs mostly share a layer, and to compress one takes seconds."""
    return gzip.compress(plain, 6, mtime=0)


class Layout:
    """Blobs, and the manifests that index.json is to name."""

    def __init__(self):
        self.blobs = {}
        self.platforms = []  # descriptors of manifests

    def add(self, media_type, content, **fields):
        """A blob's descriptor."""
        name = digest(content)
        self.blobs[name] = content
        return {"mediaType": media_type, "digest": name, "size": len(content)} | fields

    def add_image(self, architecture, layers, config, history, created, annotations):
        """layers: [{path: File}], the lowest first. Returns the manifest's descriptor."""
        descriptors, diffs = [], []
        for files in layers:
            plain = tar(files)
            diffs.append(digest(plain))
            descriptors.append(self.add(LAYER, compressed(plain)))
        document = {
            "architecture": architecture,
            "os": "linux",
            "created": created,
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": diffs},
            "history": [{"created": created, "created_by": text} for text in history],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.add(CONFIG, dumped(document)),
            "layers": descriptors,
            "annotations": annotations,
        }
        platform = {"architecture": architecture, "os": "linux"}
        self.platforms.append(self.add(MANIFEST, dumped(manifest), platform=platform))
        return self.platforms[-1]

    def top(self, annotations):
        """What a registry gets under the tag: the manifest, or an index of those of several platforms."""
        if len(self.platforms) == 1:
            return self.platforms[0]
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": self.platforms, "annotations": annotations}
        return self.add(INDEX, dumped(index))

    def files(self, top, name, tag):
        """{path: content} of the layout, with all blobs that top leads to."""
        named = {REF_NAME: tag, "io.containerd.image.name": f"docker.io/library/{name}:{tag}"}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [top | {"annotations": named}]}
        files = {"oci-layout": dumped({"imageLayoutVersion": "1.0.0"}), "index.json": dumped(index)}
        return files | {blob_path(blob): self.blobs[blob] for blob in self.reached(top)}

    def reached(self, descriptor):
        yield descriptor["digest"]
        if descriptor["mediaType"] in (INDEX, MANIFEST):
            document = json.loads(self.blobs[descriptor["digest"]])
            below = document["manifests"] if descriptor["mediaType"] == INDEX else [document["config"], *document["layers"]]
            for each in below:
                yield from self.reached(each)

    def write(self, folder, top, name, tag):
        """The layout as a folder, in place of what was there."""
        shutil.rmtree(folder, ignore_errors=True)
        for path, content in self.files(top, name, tag).items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    def archive(self, platform, name, tag, mtime):
        """A tar of one platform that is both: an OCI archive, and what `docker save` writes, by its manifest.json."""
        manifest = json.loads(self.blobs[platform["digest"]])
        docker = [
            {
                "Config": blob_path(manifest["config"]["digest"]),
                "RepoTags": [f"{name}:{tag}"],
                "Layers": [blob_path(layer["digest"]) for layer in manifest["layers"]],
            }
        ]
        contents = self.files(platform, name, tag) | {"manifest.json": dumped(docker)}
        return tar({path: File(content, mtime, "") for path, content in contents.items()})


def blob_path(name):
    return "blobs/" + name.replace(":", "/")
