"""A bill of materials of an image, as SPDX 2.3 in JSON: each Debian package, and each file with the package that it is of."""

import hashlib
import re
import urllib.parse

UNKNOWN = "NOASSERTION"


def spdx_id(kind, text):
    return f"SPDXRef-{kind}-" + re.sub(r"[^A-Za-z0-9.-]", lambda found: f"-{ord(found[0]):x}-", text)


def reference(category, kind, locator):
    return {"referenceCategory": category, "referenceType": kind, "referenceLocator": locator}


def purl(kind, name, version, **qualifiers):
    text = "&".join(f"{key}={urllib.parse.quote(value, safe='')}" for key, value in sorted(qualifiers.items()))
    return f"pkg:{kind}/{urllib.parse.quote(name)}@{urllib.parse.quote(version, safe='')}" + (f"?{text}" if text else "")


def file_entry(path, file):
    return {
        "SPDXID": spdx_id("File", path),
        "fileName": f"./{path}",
        "checksums": [
            {"algorithm": "SHA1", "checksumValue": hashlib.sha1(file.content).hexdigest()},
            {"algorithm": "SHA256", "checksumValue": hashlib.sha256(file.content).hexdigest()},
        ],
        "licenseConcluded": UNKNOWN,
        "copyrightText": UNKNOWN,
    }


def verification_code(entries):
    """Of a package, over the files of it that are in the image."""
    sums = sorted(entry["checksums"][0]["checksumValue"] for entry in entries)
    return {"packageVerificationCodeValue": hashlib.sha1("".join(sums).encode()).hexdigest()}


def package_entry(name, version, entries, **fields):
    entry = {
        "SPDXID": spdx_id("Package", name),
        "name": name,
        "versionInfo": version,
        "downloadLocation": UNKNOWN,
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": UNKNOWN,
        "copyrightText": UNKNOWN,
        "filesAnalyzed": bool(entries),
    }
    return entry | ({"packageVerificationCode": verification_code(entries)} if entries else {}) | fields


def debian_entry(package, entries):
    source, source_version = package.source()
    maintainer = re.fullmatch(r"(.*?)\s*<(.*)>", package.fields["Maintainer"])
    return package_entry(
        package.name,
        package.version,
        entries,
        supplier=f"Organization: {maintainer[1]} ({maintainer[2]})",
        homepage=package.fields.get("Homepage", UNKNOWN),
        sourceInfo=f"built by Debian from the source package {source} {source_version}",
        licenseComments=f"see /usr/share/doc/{package.name}/copyright in the image",
        packageFileName=package.deb.name,
        checksums=[{"algorithm": "SHA256", "checksumValue": package.sha256}],
        externalRefs=[
            reference(
                "PACKAGE-MANAGER",
                "purl",
                purl("deb/debian", package.name, package.version, arch=package.fields["Architecture"], distro="debian-12"),
            )
        ],
    )


def document(name, version, architecture, digest, created, files, packages, ours):
    """files: {path: File}; packages: those of Debian, by name; ours: what File.package is where it is of none of them."""
    entries = {path: file_entry(path, file) for path, file in sorted(files.items())}
    by_package = {}
    for path, file in sorted(files.items()):
        by_package.setdefault(file.package, []).append(entries[path])
    image = package_entry(
        name,
        version,
        [],
        primaryPackagePurpose="CONTAINER",
        checksums=[{"algorithm": "SHA256", "checksumValue": digest.removeprefix("sha256:")}],
        externalRefs=[reference("PACKAGE-MANAGER", "purl", purl("oci", name, digest, arch=architecture, tag=version))],
    )
    image["SPDXID"] = "SPDXRef-Image"
    parts = []
    for owner, owned in sorted(by_package.items()):
        if owner == ours:
            parts.append(package_entry(ours, version, owned, primaryPackagePurpose="APPLICATION"))
        else:
            parts.append(debian_entry(packages[owner], owned))

    def relation(one, kind, other):
        return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}

    relations = [relation("SPDXRef-DOCUMENT", "DESCRIBES", image["SPDXID"])]
    relations += [relation(image["SPDXID"], "CONTAINS", part["SPDXID"]) for part in parts]
    for owner, owned in sorted(by_package.items()):
        relations += [relation(spdx_id("Package", owner), "CONTAINS", entry["SPDXID"]) for entry in owned]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{name}-{version}-{architecture}",
        # An identifier; nothing is served there.
        "documentNamespace": f"https://pipelines.confidentialcontainers.org/spdx/{name}/{digest.replace(':', '/')}",
        "creationInfo": {"created": created, "creators": [f"Tool: coco-pipelines-images-{version}"]},
        "packages": [image, *parts],
        "files": list(entries.values()),
        "relationships": relations,
    }
