#!/usr/bin/env python3
"""The images: test_images.py BIN, a folder with the programs. What is in them, that nothing else is, and that it runs."""

import base64
import contextlib
import gzip
import http.client
import http.server
import io
import json
import os
import pathlib
import re
import shutil
import socketserver
import ssl
import subprocess
import sys
import tarfile
import tempfile
import threading

import yaml

from unpacked import ROOT, Unpacked

sys.path.insert(0, str(ROOT / "hack"))

import images
import oci
from certificates import make_pair
from cluster import HOST, answers, free_ports
from tap import check, equal, main, test

BIN = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else "build/bin").resolve()
VERSION = re.search(r'COCO_VERSION "(.*)"', (ROOT / "common/version.h").read_text())[1]
ARCHITECTURE = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()
DEPLOYED = ("coco-webhook", "coco-controller")
SERVES_S = 20
# All that an image may hold beside libraries; {} is its program.
PAPERWORK = re.compile(
    r"etc/(passwd|group|nsswitch\.conf|os-release)|usr/lib/os-release|usr/share/doc/[a-z0-9.+-]+/copyright"
    r"|usr/share/common-licenses/[A-Za-z0-9.-]+|var/lib/dpkg/status\.d/[a-z0-9.+-]+"
)


def make(out, *names, programs=BIN, umask=0o022, **environment):
    """Runs hack/images.py; (status, stdout, stderr)."""
    command = [ROOT / "hack/images.py", "--programs", f"{ARCHITECTURE}={programs}", "--out", out, *names]
    options = {"cwd": out.parent, "umask": umask, "env": os.environ | environment, "stdin": subprocess.DEVNULL}
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    return done.returncode, done.stdout, done.stderr


class World:
    """The images of BIN, unpacked."""

    def __init__(self, folder):
        self.folder = folder
        self.out = folder / "images"
        status, said, wrong = make(self.out)
        check(status == 0, f"hack/images.py failed: {said}{wrong}")
        self.digests = (self.out / "digests").read_text()
        for name in images.IMAGES:
            (folder / name).mkdir()
        self.images = {name: Unpacked(self.out, name, VERSION, ARCHITECTURE, folder / name) for name in images.IMAGES}


@contextlib.contextmanager
def world():
    with tempfile.TemporaryDirectory(prefix="coco-images-") as folder:
        yield World(pathlib.Path(folder))


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# ---- What is in them


@test("another folder, time zone, locale and umask make the same bytes")
def _(w):
    programs = w.folder / "elsewhere/bin"
    shutil.copytree(BIN, programs)
    out = w.folder / "elsewhere/out"
    status, _, wrong = make(out, "coco-webhook", programs=programs, umask=0o077, TZ="Pacific/Kiritimati", LC_ALL="C")
    equal((status, wrong), (0, ""), "hack/images.py elsewhere")
    first, second = ({p: content for p, content in tree(folder).items() if p != "digests"} for folder in (w.out, out))
    first = {path: content for path, content in first.items() if path.startswith("coco-webhook")}
    equal(sorted(first), sorted(second), "the files written")
    equal([name for name in first if first[name] != second[name]], [], "files that differ")


@test("no program tells where it was built")
def _(w):
    for name, image in w.images.items():
        content = image.files[f"usr/bin/{name}"].content
        check(str(ROOT).encode() not in content, f"{name} holds the path {ROOT}")
        check(b".note.gnu.build-id" not in content and b".debug_" not in content, f"{name} holds a build ID or debug sections")


@test("there is the program, what the loader loads for it, paperwork, and nothing else")
def _(w):
    for name, image in w.images.items():
        loader = next(path for path, file in image.files.items() if path.startswith("lib") and file.mode & 0o100)
        status, said, wrong = image.run("--list", f"/usr/bin/{name}", program=f"/{loader}")
        equal((status, wrong), (0, ""), f"{name}: what the loader says")
        loaded = set(re.findall(r"=> /(\S+) \(", said))
        check(f"lib/{images.ARCHITECTURES[ARCHITECTURE].triplet}/libc.so.6" in loaded, f"{name}: {said}")
        left = image.files.keys() - loaded - {loader, f"usr/bin/{name}"}
        equal([path for path in sorted(left) if not PAPERWORK.fullmatch(path)], [], f"{name}: files that nothing needs")
        equal(sorted(loaded - image.files.keys()), [], f"{name}: libraries from elsewhere")


@test("no links, devices, setuid, nor files that others may write; two may be executed")
def _(w):
    for name, image in w.images.items():
        equal(image.others, [], f"{name}: what is neither file nor folder")
        modes = {path: file.mode & 0o7777 for path, file in image.files.items()}
        executable = sorted(path for path, mode in modes.items() if mode == 0o755)
        check(len(executable) == 2 and executable[1] == f"usr/bin/{name}", f"{name}: executable are {executable}")
        equal({mode for mode in modes.values()}, {0o644, 0o755}, f"{name}: modes")
        shells = [path for path, file in image.files.items() if file.content.startswith(b"#!") or path.endswith("sh")]
        equal(shells, [], f"{name}: scripts and shells")


@test("the layers are in order, of root, and no newer than the commit")
def _(w):
    epoch = images.this_build().epoch
    for name, image in w.images.items():
        for descriptor, diff in zip(image.manifest["layers"], image.config["rootfs"]["diff_ids"], strict=True):
            plain = gzip.decompress((image.layout / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes())
            equal(oci.digest(plain), diff, f"{name}: a layer's diff_id")
            entries = tarfile.open(fileobj=io.BytesIO(plain)).getmembers()
            equal([e.name for e in entries], sorted(e.name for e in entries), f"{name}: the order")
            equal({(e.uid, e.gid, e.uname, e.gname) for e in entries}, {(0, 0, "", "")}, f"{name}: owners")
            check(max(e.mtime for e in entries) <= epoch, f"{name}: a file is newer than the commit")
    bases = {image.manifest["layers"][0]["digest"] for name, image in w.images.items() if name in DEPLOYED}
    equal(len(bases), 1, "layers of libraries that the deployed images don't share")


@test("configs say who runs what, and of which commit")
def _(w):
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    for name, image in w.images.items():
        config = image.config["config"]
        equal((image.config["os"], image.config["architecture"]), ("linux", ARCHITECTURE), f"{name}: its platform")
        equal((config["User"], config["Entrypoint"], config["WorkingDir"]), ("65532:65532", [f"/usr/bin/{name}"], "/"), name)
        check("Cmd" not in config, f"{name} has a Cmd")
        labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
        equal(labels["version"], VERSION, f"{name}: its version")
        equal(labels["revision"].removesuffix("-dirty"), commit, f"{name}: its commit")
        equal(labels["created"], image.config["created"], f"{name}: when it was made")
        check(labels["title"] and labels["description"], f"{name}: no title or description")
        equal(image.manifest["annotations"], config["Labels"], f"{name}: annotations")
        check(f"{name}:{VERSION}@{image.descriptor['digest']}\n" in w.digests, f"{name}: {w.digests}")


@test("the archive is the same image for Docker")
def _(w):
    for name, image in w.images.items():
        with tarfile.open(w.out / f"{name}-{VERSION}-{ARCHITECTURE}.tar") as archive:
            read = {entry.name: archive.extractfile(entry).read() for entry in archive if entry.isfile()}
        docker = json.loads(read.pop("manifest.json"))
        equal(read, tree(image.layout), f"{name}: the layout in the archive")
        equal(docker[0]["RepoTags"], [f"{name}:{VERSION}"], f"{name}: its tag")
        equal(json.loads(read[docker[0]["Config"]]), image.config, f"{name}: its config")
        blobs = [oci.blob_path(layer["digest"]) for layer in image.manifest["layers"]]
        equal(docker[0]["Layers"], blobs, f"{name}: its layers")


# ---- Bills of materials


def owners(sbom):
    """{path: [names of packages that contain it]}."""
    packages = {package["SPDXID"]: package["name"] for package in sbom["packages"]}
    paths = {file["SPDXID"]: file["fileName"].removeprefix("./") for file in sbom["files"]}
    found = {path: [] for path in paths.values()}
    for relation in sbom["relationships"]:
        if relation["relationshipType"] == "CONTAINS" and relation["relatedSpdxElement"] in paths:
            found[paths[relation["relatedSpdxElement"]]].append(packages[relation["spdxElementId"]])
    return found


@test("a bill of materials has each file once, with its sum and its package")
def _(w):
    for name, image in w.images.items():
        sums = {f["fileName"].removeprefix("./"): f["checksums"][1]["checksumValue"] for f in image.sbom["files"]}
        equal(sums, {path: file.sha256 for path, file in image.files.items()}, f"{name}: the files and their sums")
        several = {path: found for path, found in owners(image.sbom).items() if len(found) != 1}
        equal(several, {}, f"{name}: files without one package")
        whole = image.sbom["packages"][0]
        equal(whole["checksums"][0]["checksumValue"], image.descriptor["digest"].split(":")[1], f"{name}: of which image")
        equal(image.sbom["creationInfo"]["created"], image.config["created"], f"{name}: when")


@test("a file's package is the one that Debian ships it in")
def _(w):
    image = w.images["coco-webhook"]
    for path, (owner,) in owners(image.sbom).items():
        if owner == "coco-pipelines":
            check(path.startswith(("usr/bin/", "etc/", "var/lib/dpkg/status.d/")), f"{path} is said to be ours")
        elif "/doc/" in path:
            equal(pathlib.PurePosixPath(path).parent.name, owner, path)
    # One whose name tells it, of each kind.
    known = {"libcurl.so.4": "libcurl4", "libz.so.1": "zlib1g", "os-release": "base-files", "GPL-2": "base-files"}
    for path, owner in known.items():
        found = {o for p, (o,) in owners(image.sbom).items() if p.endswith(f"/{path}")}
        equal(found, {owner}, path)


@test("scanners find each package, and each has its licence")
def _(w):
    for name, image in w.images.items():
        told = {package["name"]: package for package in image.sbom["packages"] if "packageFileName" in package}
        stanzas = {path.split("/")[-1]: file.content.decode() for path, file in image.files.items() if "status.d/" in path}
        equal(sorted(stanzas), sorted(told), f"{name}: packages")
        check(b"VERSION_CODENAME=bookworm" in image.files["etc/os-release"].content, f"{name}: os-release")
        for package, stanza in stanzas.items():
            fields = dict(re.findall(r"^(\S+): (.*)$", stanza, re.M))
            equal((fields["Package"], fields["Version"]), (package, told[package]["versionInfo"]), f"{name}: {package}")
            purl = told[package]["externalRefs"][0]["referenceLocator"]
            check(purl.startswith(f"pkg:deb/debian/{package.replace('+', '%2B')}@"), f"{name}: {purl}")
            licence = image.files[f"usr/share/doc/{package}/copyright"].content
            for text in re.findall(rb"/usr/share/common-licenses/([A-Z][A-Za-z]*(?:-[0-9](?:\.[0-9])?)?)", licence):
                check(f"usr/share/common-licenses/{text.decode()}" in image.files, f"{name}: {package} refers to {text}")


# ---- They run


@test("each program starts from its image, as its user, on a read-only root")
def _(w):
    for name, image in w.images.items():
        equal(image.run("--version"), (0, f"{name} {VERSION}\n", ""), name)


@test("nothing but the program can be run")
def _(w):
    status, _, said = w.images["coco-webhook"].run("-c", "true", program="/bin/sh")
    check(status != 0 and "FileNotFoundError" in said, f"/bin/sh ended with {status}: {said}")


def get(port, path):
    with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=10)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


def readable(source, target):
    """A copy that a container's user can read, whoever wrote it."""
    shutil.copytree(source, target)
    for path in [target, *target.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target


@test("the webhook makes a pod confidential from its image")
def _(w):
    image = w.images["coco-webhook"]
    profiles = w.folder / "profiles"
    profiles.mkdir()
    shutil.copy(ROOT / "manifests/samples/profile.yaml", profiles)
    subprocess.run([ROOT / "hack/certs.sh", "--san", f"IP:{HOST}", w.folder / "certs"], check=True, stdin=subprocess.DEVNULL)
    pair = readable(w.folder / "certs", w.folder / "c")
    mounts = [(readable(profiles, w.folder / "p"), "profiles"), (pair, "etc/coco-webhook/tls")]
    port, plain = free_ports(2)
    proc = image.start("--profiles=/profiles", f"--listen={HOST}:{port}", f"--plain-listen={HOST}:{plain}", mounts=mounts)
    try:
        proc.wait_until(lambda: answers(plain) and answers(port), "serves", SERVES_S)
        equal((get(plain, "/healthz"), get(plain, "/readyz")), (200, 200), "its health")
        pod = yaml.safe_load((ROOT / "manifests/samples/pod.yaml").read_text())
        request = {
            "uid": "u",
            "operation": "CREATE",
            "namespace": "default",
            "object": pod,
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
        }
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
        context = ssl.create_default_context(cafile=w.folder / "certs/ca.crt")
        with contextlib.closing(http.client.HTTPSConnection(HOST, port, timeout=10, context=context)) as connection:
            connection.request("POST", "/mutate-pods", json.dumps(review), {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())["response"]
        check(answer["allowed"] and answer.get("patchType") == "JSONPatch", f"it answered {answer}")
        status = pathlib.Path(f"/proc/{proc.pid}/status").read_text()
        if os.geteuid() == 0:
            equal(re.search(r"^Uid:\s+(\d+)", status, re.M)[1], "65532", "its user")
            equal(re.search(r"^CapEff:\s+(\S+)", status, re.M)[1], "0" * 16, "its capabilities")
    finally:
        proc.stop()
    equal(proc.process.returncode, 0, f"its exit status after SIGTERM; {proc.tail()}")


class Empty(http.server.BaseHTTPRequestHandler):
    """An API server that knows nothing."""

    def do_GET(self):
        self.server.heard.add(self.headers["Host"].split(":")[0])
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        body = json.dumps(status).encode()
        self.send_response(404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_PATCH = do_GET

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Peers may leave as they like."""


@contextlib.contextmanager
def empty_api_server(folder, host):
    """(server, its kubeconfig as JSON)."""
    certificate, key = make_pair(host, name=host)
    (folder / "pair").write_text(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pair")
    server = Server((HOST, 0), Empty)
    server.heard = set()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        trusted = base64.b64encode(certificate.encode()).decode()
        cluster = {"server": f"https://{host}:{server.server_port}", "certificate-authority-data": trusted}
        kubeconfig = {
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "c", "user": {"token": "t"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        }
        yield server, json.dumps({"apiVersion": "v1", "kind": "Config"} | kubeconfig)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@test("the controller serves from its image, and finds an API server by /etc/hosts")
def _(w):
    image = w.images["coco-controller"]
    folder = w.folder / "kube"
    folder.mkdir()
    (w.folder / "hosts").write_text(f"{HOST} apiserver.test\n")
    with empty_api_server(w.folder, "apiserver.test") as (server, kubeconfig):
        (folder / "config").write_text(kubeconfig)
        folder.chmod(0o755)
        plain = free_ports(1)[0]
        mounts = [(folder, "kube"), (w.folder / "hosts", "etc/hosts")]
        proc = image.start("--kubeconfig=/kube/config", f"--plain-listen={HOST}:{plain}", mounts=mounts)
        try:
            proc.wait_until(lambda: answers(plain), "serves", SERVES_S)
            equal(get(plain, "/healthz"), 200, "its health")
            proc.wait_until(lambda: server.heard, "asks the API server", SERVES_S)
            equal(server.heard, {"apiserver.test"}, "whom it asked")
        finally:
            proc.stop()
        equal(proc.process.returncode, 0, f"its exit status after SIGTERM; {proc.tail()}")


@test("cocopipe shows from its image what it shows from here")
def _(w):
    samples = readable(ROOT / "manifests/samples", w.folder / "samples")
    command = ["inject", "-f", "/samples/pod.yaml", "--profile", "/samples/profile.yaml"]
    here = [BIN / "cocopipe", *(word.replace("/samples", str(samples)) for word in command)]
    want = subprocess.run(here, capture_output=True, text=True, check=True).stdout
    status, said, _ = w.images["cocopipe"].run(*command, mounts=[(samples, "samples")])
    equal((status, said), (0, want), "the pod")


# ---- What else speaks of them


def deployments():
    documents = yaml.safe_load_all((ROOT / "manifests/install.yaml").read_text())
    return {d["metadata"]["name"]: d["spec"]["template"]["spec"] for d in documents if d["kind"] == "Deployment"}


def check_pod(pod, image, what):
    """A Deployment's pod takes the image as it is."""
    container, config = pod["containers"][0], image.config["config"]
    equal(container["image"], f"{image.name}:{VERSION}", f"{what}: the image")
    check("command" not in container, f"{what} has a command of its own")
    check(pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"], f"{what}: rights")
    ports = sorted(f"{port['containerPort']}/tcp" for port in container["ports"])
    equal(ports, sorted(config["ExposedPorts"]), f"{what}: ports")


@test("the manifests run these images")
def _(w):
    pods = deployments()
    equal(sorted(pods), sorted(DEPLOYED), "Deployments of install.yaml")
    for name, pod in pods.items():
        check_pod(pod, w.images[name], f"install.yaml: {name}")
    chart = ROOT / "manifests/helm/coco-pipelines"
    values = yaml.safe_load((chart / "values.yaml").read_text())
    equal(yaml.safe_load((chart / "Chart.yaml").read_text())["appVersion"], VERSION, "the chart's tag")
    equal([values[short]["image"]["repository"] for short in ("webhook", "controller")], list(DEPLOYED), "the chart's images")
    bundle = ROOT / "manifests/olm/bundle/manifests/coco-pipelines.clusterserviceversion.yaml"
    found = yaml.safe_load(bundle.read_text())["spec"]["install"]["spec"]["deployments"]
    for deployment in found:
        check_pod(deployment["spec"]["template"]["spec"], w.images[deployment["name"]], f"OLM: {deployment['name']}")
    equal(sorted(deployment["name"] for deployment in found), sorted(DEPLOYED), "the bundle's Deployments")


def stages():
    """{name: {instruction: [arguments]}} of hack/Containerfile."""
    found = {}
    for line in (ROOT / "hack/Containerfile").read_text().replace("\\\n", " ").splitlines():
        if not line or line.startswith("#"):
            continue
        word, rest = line.split(" ", 1)
        if word == "FROM":
            stage = found.setdefault(rest.split(" AS ")[1], {})
        if found:
            stage.setdefault(word, []).append(rest)
    return found


@test("the Containerfile makes images of the same files and configs")
def _(w):
    found = stages()
    equal(set(found), {"build", *images.IMAGES}, "its stages")
    for copied in found["build"]["COPY"]:
        for source in copied.split()[:-1]:
            check((ROOT / source).exists(), f"it copies {source}, which isn't there")
    for name, image in w.images.items():
        config, stage = image.config["config"], found[name]
        equal(stage["FROM"], [f"scratch AS {name}"], f"{name}: its base")
        equal(stage["COPY"], [f"--from=build /rootfs/{name}/ /"], f"{name}: its files")
        equal((stage["USER"], stage["WORKDIR"], stage["ENV"]), ([config["User"]], [config["WorkingDir"]], config["Env"]), name)
        equal(json.loads(stage["ENTRYPOINT"][0]), config["Entrypoint"], f"{name}: its entrypoint")
        ports = [" ".join(config["ExposedPorts"])] if "ExposedPorts" in config else []
        equal(stage.get("EXPOSE", []), ports, f"{name}: its ports")
    out = w.folder / "roots"
    command = [ROOT / "hack/images.py", "--programs", f"{ARCHITECTURE}={BIN}", "--rootfs", "--out", out, "coco-webhook"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    want = {path: (file.mode, file.content) for path, file in w.images["coco-webhook"].files.items()}
    root = out / "coco-webhook"
    got = {str(p.relative_to(root)): (p.stat().st_mode, p.read_bytes()) for p in root.rglob("*") if p.is_file()}
    equal(sorted(got), sorted(want), "the files that it copies")
    check(got == want, "a file that it copies has another content or mode")


@test("several platforms are under one tag")
def _(w):
    layout = oci.Layout()
    for architecture in ("amd64", "arm64"):
        files = {"usr/bin/x": oci.File(architecture.encode(), 1, "x", True)}
        layout.add_image(architecture, [files], {"User": "1"}, ["x"], "1970-01-01T00:00:01Z", {})
    folder = w.folder / "several"
    layout.write(folder, layout.top({"a": "b"}), "x", "1")
    top = json.loads((folder / "index.json").read_text())["manifests"]
    equal([(d["mediaType"], d["annotations"][oci.REF_NAME]) for d in top], [(oci.INDEX, "1")], "index.json")
    index = json.loads((folder / oci.blob_path(top[0]["digest"])).read_text())
    equal([d["platform"]["architecture"] for d in index["manifests"]], ["amd64", "arm64"], "the platforms")
    equal(len(list((folder / "blobs/sha256").iterdir())), 7, "blobs")


@test("what can't be made is refused with what to do")
def _(w):
    other = "arm64" if ARCHITECTURE == "amd64" else "amd64"
    rows = [
        (["--programs", f"{other}={BIN}"], {}, f"not for {other}: say where another is by --programs"),
        (["--programs", f"{ARCHITECTURE}={w.folder}"], {}, "build it first (make build)"),
        (["--programs", "s390x=x"], {}, "give amd64=DIR or arm64=DIR"),
        (["coco-nothing"], {}, "no image coco-nothing; known: coco-webhook"),
        ([], {"SOURCE_DATE_EPOCH": "yesterday"}, "set SOURCE_DATE_EPOCH"),
    ]
    for options, environment, words in rows:
        command = [ROOT / "hack/images.py", "--out", w.folder / "refused", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)
        check(done.returncode != 0 and words in done.stderr, f"{options}: status {done.returncode}, {done.stderr!r}")
        check("Traceback" not in done.stderr, f"{options}: {done.stderr}")


main(world())
