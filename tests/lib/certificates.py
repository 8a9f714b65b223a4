"""Keys and certificates for tests, made by openssl."""

import base64
import pathlib
import subprocess
import tempfile

KINDS = {
    "p256": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "p384": ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "rsa": ["rsa:2048"],
}
AUTHORITY = """
[ca]
default_ca = own
[own]
database = {folder}/index
new_certs_dir = {folder}
serial = {folder}/serial
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
"""


def openssl(*arguments):
    return subprocess.run(["openssl", *arguments], check=True, stdin=subprocess.DEVNULL, capture_output=True).stdout


def make_pair(*hosts, kind="p256", name="kbs", days=365, expired=False):
    """A self-signed certificate that is good for the hosts, and its key: both PEM."""
    names = ",".join(f"DNS:{host}" for host in hosts or ("kbs.example",))
    with tempfile.TemporaryDirectory(prefix="coco-certificates-") as scratch:
        folder = pathlib.Path(scratch)
        key, request, certificate = (folder / file for file in ("key", "request", "certificate"))
        command = ["req", "-newkey", *KINDS[kind], "-nodes", "-keyout", key, "-subj", f"/CN={name}"]
        extensions = ["-addext", f"subjectAltName={names}"]
        if not expired:
            extensions += ["-addext", "basicConstraints=critical,CA:FALSE"]
            openssl(*command, *extensions, "-x509", "-days", str(days), "-out", certificate)
            return certificate.read_text(), key.read_text()
        openssl(*command, *extensions, "-out", request)
        (folder / "index").touch()
        (folder / "serial").write_text("01\n")
        (folder / "config").write_text(AUTHORITY.format(folder=folder))
        command = ["ca", "-batch", "-notext", "-selfsign", "-config", folder / "config", "-keyfile", key, "-in", request]
        openssl(*command, "-startdate", "20200101000000Z", "-enddate", "20200201000000Z", "-out", certificate)
        return certificate.read_text(), key.read_text()


def not_after(certificate):
    """As Kubernetes writes times."""
    command = ["openssl", "x509", "-noout", "-enddate", "-dateopt", "iso_8601"]
    done = subprocess.run(command, input=certificate, check=True, capture_output=True, text=True)
    return done.stdout.strip().removeprefix("notAfter=").replace(" ", "T", 1)


def body_of(pem):
    """The base64 between the lines of BEGIN and END, as one string."""
    return "".join(line for line in pem.splitlines() if not line.startswith("-----"))


def encode(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def decode(text):
    return base64.b64decode(text).decode()
