"""Tests of Trustee's policies, as the controller makes them, with regorus, Trustee's Rego engine.

    "$(hack/pyenv.sh)" tests/policy/test_trustee_policies.py build/asan/tests/policy_text [-k SUBSTRING]

Asked as Trustee does: the key broker evaluates data.policy.allow with the request as data and the token's claims as
input (kbs/src/api_server.rs), the attestation service data.policy.trust_claims with the verifier's claims as input
(attestation-service/src/ear_token/broker.rs). What is compared with is worked out here, with hashlib.
"""

import base64
import copy
import hashlib
import itertools
import json
import pathlib
import re
import subprocess
import sys

import regorus

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from tap import check, equal, main, test  # noqa: E402

TOOL = sys.argv.pop(1)
FOLDER = pathlib.Path(__file__).resolve().parents[2] / "controller/policies"

# ---- The engine


def policy_text(*arguments):
    done = subprocess.run([TOOL, *arguments], capture_output=True, text=True, timeout=60, check=False)
    check(done.returncode == 0, f"policy_text {arguments[:3]} failed: {done.stderr}")
    return done.stdout


# Trustee registers query_reference_value as an extension, which these bindings can't do: a rule stands in for it.
STAND_IN = """package policy
import rego.v1
query_reference_value(name) := value if {
	value := data.stand_in[name]
} else := null
"""
_engines = {}


def engine(text, stand_in):
    if (text, stand_in) not in _engines:
        made = regorus.Engine()
        made.add_policy("policy", text)
        if stand_in:
            made.add_policy("stand-in", STAND_IN)
        _engines[text, stand_in] = made
    return _engines[text, stand_in].clone()


def evaluate(text, rule, data, claims, stand_in=False):
    asked = engine(text, stand_in)
    asked.add_data_json(json.dumps(data))
    asked.set_input_json(json.dumps(claims))
    return json.loads(asked.eval_rule_as_json(rule))


# ---- Initdata, and how the evidence of each TEE shows it

INITDATA = 'version = "0.1.0"\nalgorithm = "sha256"\n[data]\n'
OTHER = INITDATA + "\n"


def sha(algorithm, text):
    return hashlib.new(algorithm, text.encode()).digest()


def fit(digest, width):
    return digest[:width].ljust(width, b"\0")


def b64(data):
    return base64.b64encode(data).decode()


FORMS = {
    "snp": lambda digest: [fit(digest, 32).hex(), b64(fit(digest, 32))],
    "tdx": lambda digest: [fit(digest, 48).hex()],
    "az-snp-vtpm": lambda digest: [hashlib.sha256(bytes(32) + digest).hexdigest()] if len(digest) == 32 else [],
    "az-tdx-vtpm": lambda digest: [hashlib.sha256(bytes(32) + digest).hexdigest()] if len(digest) == 32 else [],
    "cca": lambda digest: [fit(digest, 64).hex(), b64(fit(digest, 64))],
    "sample": lambda digest: [b64(digest)],
}
ALGORITHMS = ("sha256", "sha384", "sha512")
TEES = (*FORMS, "se", "csv", "tpm", "sgx")
STATUSES = ("affirming", "warning", "contraindicated", "none", None)
ABSENT = object()


def evidence(tee, init_data=ABSENT):
    made = {tee: {"some": "claim"}, "report_data": "00", "runtime_data_claims": {"nonce": "n"}}
    if init_data is not ABSENT:
        made |= {"init_data": init_data, "init_data_claims": None}
    return made


def appraisal(tee, status="affirming", init_data=ABSENT):
    made = {"ear.veraison.annotated-evidence": evidence(tee, init_data), "ear.appraisal-policy-id": "default"}
    return made if status is None else made | {"ear.status": status, "ear.trustworthiness-vector": {"hardware": 2}}


def token(cpu, **others):
    return {"eat_profile": "tag:x", "iat": 1, "submods": {"cpu0": cpu, **others}}


def request(path="default/app/key", plugin="resource"):
    return {"plugin": plugin, "resource-path": path.split("/"), "query": {}}


def allows(text, claims, data=None):
    answer = evaluate(text, "data.policy.allow", request() if data is None else data, claims)
    check(answer in (True, False), f"data.policy.allow is {answer!r}")
    return answer


def general(profile, tee, status):
    """What a profile says of a guest with one CPU, where no binding names the resource."""
    return {
        "permissive": True,
        "restrictive": status == "affirming" and tee != "sample",
        "ibm-se": status == "affirming" and tee == "se",
    }[profile]


PROFILES = ("permissive", "restrictive", "ibm-se")
PLAIN = {profile: policy_text("resource", profile) for profile in PROFILES}
BOUND = {
    profile: policy_text("resource", profile, "default/app/key", "sha256:" + INITDATA)
    for profile in ("permissive", "restrictive")
}

# ---- Resource policies without bindings

for profile, tee, status in itertools.product(PROFILES, TEES, STATUSES):

    @test(f"{profile}: {tee} with status {status} gets what it should")
    def _(profile=profile, tee=tee, status=status):
        want = general(profile, tee, status)
        equal(allows(PLAIN[profile], token(appraisal(tee, status))), want, "the answer")
        equal(allows(PLAIN[profile], token(appraisal(tee, status, "aa"))), want, "the answer with initdata")
        old = {"submods": {"cpu": appraisal(tee, status)}}  # Trustee 0.13
        equal(allows(PLAIN[profile], old), want, "the answer to a token of Trustee 0.13")


DEVICES = {"gpu0": "nvidia", "gpu7": "nvidia", "switch0": "nvidia", "dcu0": "hygondcu"}

for device, status in itertools.product(DEVICES, STATUSES):

    @test(f"a device {device} with status {status} beside an affirming CPU counts")
    def _(device=device, status=status):
        for profile, tee in (("permissive", "snp"), ("restrictive", "snp"), ("ibm-se", "se")):
            claims = token(appraisal(tee), **{device: appraisal(DEVICES[device], status)})
            want = profile == "permissive" or status == "affirming"
            equal(allows(PLAIN[profile], claims), want, f"the answer of {profile}")


for profile, plugin in itertools.product(
    PROFILES, ("nebula-ca", "pkcs11", "external", "resource-policy", "attestation-policy", "reference-value",
               "Resource", "resource ", "", "auth", None, 1, ["resource"], {"resource": 1})
):

    @test(f"{profile}: nothing of the plugin {plugin!r} is for a guest")
    def _(profile=profile, plugin=plugin):
        tee = "se" if profile == "ibm-se" else "tdx"
        equal(allows(PLAIN[profile], token(appraisal(tee)), request(plugin=plugin)), False, "the answer")


PATHS = [
    ["default", "app"], ["default"], [], ["a", "b", "c", "d"], ["", "app", "key"], ["default", "", "key"],
    ["default", "app", ""], ["default", "..", "key"], [".", "app", "key"], ["default", "app", ".hidden"],
    ["default", "app", "key/x"], ["default/app", "key", "x"], ["default", "app", "key\n"], ["default", "app", "k%65y"],
    ["default", "app", 1], ["default", "app", None], ["default", "app", ["key"]], "default/app/key", None, 3, {},
    {"0": "default", "1": "app", "2": "key"}, [["default"], ["app"], ["key"]],
]  # fmt: skip

for path in PATHS:

    @test(f"a resource's path {path!r} is none")
    def _(path=path):
        data = request() | {"resource-path": path}
        right = FORMS["snp"](sha("sha256", INITDATA))[0]
        for text, tee in ((PLAIN["permissive"], "snp"), (BOUND["permissive"], "snp"), (PLAIN["restrictive"], "snp"),
                          (BOUND["restrictive"], "snp"), (PLAIN["ibm-se"], "se")):  # fmt: skip
            equal(allows(text, token(appraisal(tee, init_data=right)), data), False, "the answer")


@test("a request without data gets nothing")
def _():
    for text in PLAIN.values():
        equal(allows(text, token(appraisal("snp")), {}), False, "the answer")
        equal(allows(text, token(appraisal("snp")), {"plugin": "resource"}), False, "the answer without a path")


# ---- Hostile or broken tokens

ODD = (None, True, 0, 1, "", "affirming", [], ["affirming"], {}, {"ear.status": "affirming"})
GOOD = appraisal("snp")


def changed(appraisal_, **members):
    made = copy.deepcopy(appraisal_)
    for key, value in members.items():
        made["ear." + key.replace("_", "-")] = value
    return made


BROKEN = {
    "no claims": {},
    "no submods": {"iat": 1},
    "no CPU": {"submods": {"gpu0": appraisal("nvidia")}},
    "two CPUs": token(GOOD, cpu1=GOOD),
    "two CPUs, one of Trustee 0.13": {"submods": {"cpu": GOOD, "cpu0": GOOD}},
    "another word than cpu0": {"submods": {"CPU0": GOOD}},
    "status Affirming": token(changed(GOOD, status="Affirming")),
    "status in a list": token(changed(GOOD, status=["affirming"])),
    "status 2": token(changed(GOOD, status=2)),
    "status true": token(changed(GOOD, status=True)),
    "status null": token(changed(GOOD, status=None)),
    "status at another place": {"submods": {"cpu0": evidence("snp")}, "ear.status": "affirming"},
    "status only outside of submods": {"ear.status": "affirming"},
    **{f"submods {odd!r}": {"submods": odd} for odd in ODD},
    **{f"CPU {odd!r}": {"submods": {"cpu0": odd}} for odd in ODD},
    **{f"a device {odd!r}": token(GOOD, gpu0=odd) for odd in ODD},
    **{f"an unnamed part {odd!r}": token(GOOD, **{"": odd}) for odd in ODD},
    **{f"claims {odd!r}": odd for odd in ODD},
    "evidence of another type": token({"ear.status": "affirming", "ear.veraison.annotated-evidence": ["snp"]}),
    "no evidence": token({"ear.status": "affirming"}),
    "no evidence of a device": token(GOOD, gpu0={"ear.status": "affirming"}),
    "a sample device": token(GOOD, gpu0=appraisal("sampledevice")),
    "a sample beside": token(GOOD, gpu0=appraisal("sample")),
    **{
        f"sample evidence of {odd!r}": token(
            changed(GOOD, **{"veraison.annotated_evidence": evidence("snp") | {"sample": odd}})
        )
        for odd in ODD
    },
}

for name, claims in BROKEN.items():

    @test(f"restrictive and IBM SE give nothing to a token with {name}")
    def _(claims=claims):
        for profile, text in (*PLAIN.items(), *BOUND.items()):
            answer = allows(text, claims)
            if profile != "permissive":
                equal(answer, False, f"the answer of {profile}")


for name in ("no claims", "no submods", *(f"submods {odd!r}" for odd in ODD[:-1]), *(f"claims {odd!r}" for odd in ODD)):

    @test(f"permissive gives nothing to a token with {name}")
    def _(name=name):
        equal(allows(PLAIN["permissive"], BROKEN[name]), False, "the answer")


# ---- Bindings

RIGHT = {tee: forms(sha("sha256", INITDATA)) for tee, forms in FORMS.items()}
WRONG = {tee: forms(sha("sha256", OTHER)) for tee, forms in FORMS.items()}

for profile, tee, status in itertools.product(BOUND, TEES, STATUSES):
    want = general(profile, tee, status)

    @test(f"{profile}: a bound resource goes to {tee} with status {status} only by its digest")
    def _(profile=profile, tee=tee, status=status, want=want):
        text = BOUND[profile]
        for form in RIGHT.get(tee, []):
            equal(allows(text, token(appraisal(tee, status, form))), want, f"the answer to {form}")
        for form in WRONG.get(tee, []):
            equal(allows(text, token(appraisal(tee, status, form))), False, f"the answer to {form}, a wrong digest")
        equal(allows(text, token(appraisal(tee, status))), False, "the answer to no digest")
        other = request("default/app/other")
        equal(allows(text, token(appraisal(tee, status)), other), want, "the answer for another resource")


for tee in TEES:
    right = RIGHT.get(tee, [sha("sha256", INITDATA).hex()])
    foreign = {form for forms in RIGHT.values() for form in forms} - set(RIGHT.get(tee, []))
    near = {sha("sha256", INITDATA).hex(), b64(sha("sha256", INITDATA))} - set(RIGHT.get(tee, []))
    for form in right:
        # A base64 text in lower case is another text; one in hexadecimal is written in lower case by every verifier.
        near |= {form[:-2], form[:-1], form[1:], form + "00", form + "=", " " + form, form + "\n", "0x" + form,
                 form.swapcase(), form[:1], "", "*", form + "," + form}  # fmt: skip

    @test(f"{tee}: other forms of the right digest get nothing: of other TEEs, cut, longer, in capitals")
    def _(tee=tee, forms=sorted(foreign | near)):
        for form, text in itertools.product(forms, BOUND.values()):
            equal(allows(text, token(appraisal(tee, init_data=form))), False, f"the answer to {form!r}")

    @test(f"{tee}: a digest of another type gets nothing")
    def _(tee=tee, right=right):
        for odd, text in itertools.product((None, True, 0, [], {}, right, {right[0]: 1}, [[right[0]]]), BOUND.values()):
            equal(allows(text, token(appraisal(tee, init_data=odd))), False, f"the answer to {odd!r}")


@test("evidence that names two TEEs is bound to nothing")
def _():
    for a, b in itertools.permutations(FORMS, 2):
        claims = token(appraisal(a, init_data=RIGHT[a][0]))
        claims["submods"]["cpu0"]["ear.veraison.annotated-evidence"][b] = {"some": "claim"}
        for text in BOUND.values():
            equal(allows(text, claims), False, f"the answer to {a} and {b}")


@test("a device's digest does not count for the guest")
def _():
    for text in BOUND.values():
        claims = token(appraisal("snp"), gpu0=appraisal("snp", init_data=RIGHT["snp"][0]))
        equal(allows(text, claims), False, "the answer")


@test("a digest outside of the evidence does not count")
def _():
    claims = token(appraisal("snp")) | {"init_data": RIGHT["snp"][0]}
    claims["submods"]["cpu0"]["init_data"] = RIGHT["snp"][0]
    claims["submods"]["cpu0"]["ear.veraison.annotated-evidence"]["snp"]["init_data"] = RIGHT["snp"][0]
    for text in BOUND.values():
        equal(allows(text, claims), False, "the answer")


for algorithm, tee in itertools.product(ALGORITHMS, FORMS):

    @test(f"{tee}: initdata with {algorithm} is bound as its register shows it")
    def _(algorithm=algorithm, tee=tee):
        text = policy_text("resource", "permissive", "default/app/key", f"{algorithm}:{INITDATA}")
        forms = FORMS[tee](sha(algorithm, INITDATA))
        for form in forms:
            equal(allows(text, token(appraisal(tee, init_data=form))), True, f"the answer to {form}")
        for form in {*RIGHT[tee], ""} - set(forms):
            equal(allows(text, token(appraisal(tee, init_data=form))), False, f"the answer to {form}")


SPECIFIC = [
    "default/", "sha256:repository", "--", "default/app/", "sha256:type", "--", "default/app/key", "sha256:one",
    "sha256:two", "--", "default/app/key", "sha384:three", "--", "default/app/nobody", "--", "default/app/nobody",
]  # fmt: skip
SPECIFIC_WANT = {
    "default/app/key": "one two three",
    "default/app/other": "type",
    "default/app/key2": "type",
    "default/app/ke": "type",
    "default/app2/key": "repository",
    "default/App/key": "repository",
    "default/ap/p": "repository",
    "default/app/nobody": "",
    "default2/app/key": None,
    "defaul/t/app": None,
    "Default/app/key": None,
    "app/default/key": None,
}

for path, want in SPECIFIC_WANT.items():

    @test(f"of several bindings for {path} the longest path decides")
    def _(path=path, want=want):
        for profile in BOUND:
            text = policy_text("resource", profile, *SPECIFIC)
            for name in ("repository", "type", "one", "two", "three", "four"):
                digest = sha("sha384" if name == "three" else "sha256", name)
                claims = token(appraisal("tdx", init_data=FORMS["tdx"](digest)[0]))
                expected = want is None or name in want.split()
                equal(allows(text, claims, request(path)), expected, f"the answer of {profile} to {name}")
            equal(allows(text, token(appraisal("tdx")), request(path)), want is None, "the answer to no digest")


@test("the order of bindings and digests makes no difference to the text, nor does saying one twice")
def _():
    parts = ("a/", "sha256:1", "sha256:2"), ("b/c/d", "sha512:3"), ("a/b/", "sha384:2", "sha256:2")

    def text(*groups):
        arguments = [x for group in groups for x in ("--", *group)][1:]
        return policy_text("resource", "restrictive", *arguments)

    want = text(*parts)
    for order in itertools.permutations(parts):
        equal(text(*order), want, "the text")
        equal(text(*(group[:1] + group[:0:-1] for group in order)), want, "the text")
        equal(text(*order, *order), want, "the text")


@test("the table of bindings is JSON")
def _():
    for text in (BOUND["restrictive"], policy_text("resource", "permissive", *SPECIFIC), PLAIN["permissive"]):
        (table,) = re.findall(r"^bindings := (\{.*\})\n\Z", text, re.MULTILINE | re.DOTALL)
        check(isinstance(json.loads(table), dict), "it is no object")


@test("as many bindings and digests as may be, with paths as long as may be, still make a policy that works")
def _():
    arguments = []
    for i in range(256):
        path = f"r{i}/" + "t" * 400 + "/" + "n" * (511 - 400 - len(f"r{i}/"))
        equal(len(path), 512, "the path's length")
        arguments += ["--", path, f"sha512:{i}", f"sha256:{i}"]
    text = policy_text("resource", "restrictive", *arguments[1:])
    check(len(text) < 512 * 1024, f"it has {len(text)} bytes")
    check(max(map(len, text.splitlines())) < 1024, "a line is too long")
    form = FORMS["snp"](sha("sha512", "255"))[0]
    equal(allows(text, token(appraisal("snp", init_data=form)), request(path)), True, "the answer")
    wrong = token(appraisal("snp", init_data=RIGHT["snp"][0]))
    equal(allows(text, wrong, request(path)), False, "the wrong one's answer")


REFUSED = {
    "257 bindings": (["restrictive", *["x/", "--"] * 256, "x/"], "at most 256"),
    "513 digests": (["restrictive", "x/", *["sha256:1"] * 513], "at most 512"),
    "IBM SE with bindings": (["ibm-se", "x/", "sha256:1"], "no initdata digest"),
    **{
        f"the path {path!r}": (["restrictive", "a/", "--", path], "bindings[1]")
        for path in ("", "/", "a", "a/b", "/a/b", "//", "a//", "a//b", "a/b/c/", "a/b/c/d", "../b/c", "a/./c", "a/b/.c",
                     "a b/", "a/b/c\n", 'a"/', "a\\/", "a/*", "*", "ü/", "a/b/" + "c" * 509)
    },
}  # fmt: skip

for name, (arguments, message) in REFUSED.items():

    @test(f"{name} is refused")
    def _(arguments=arguments, message=message):
        done = subprocess.run(
            [TOOL, "resource", *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        equal((done.returncode, done.stdout), (1, ""), "status and output")
        check(message in done.stderr, f"the message is: {done.stderr}")


# ---- Attestation policies


def tiers(text, claims, references, stand_in=True, each=False):
    data = {"stand_in": references} if stand_in else {"reference": references}
    got = evaluate(text, "data.policy.trust_claims", data, claims, stand_in)
    equal(sorted(got), CLAIMS, "the list of trust claims")
    check(all(type(v) is int and -127 <= v <= 127 for v in got.values()), f"a value is out of range: {got}")
    for claim in CLAIMS if each else []:  # Trustee to 0.15 asks for each by its own name
        rule = "data.policy." + claim.replace("-", "_")
        equal(evaluate(text, rule, data, claims, stand_in), got[claim], rule)
    equal({got[k] for k in CLAIMS if k not in ("hardware", "executables", "configuration")}, {0}, "the other claims")
    return got["hardware"], got["executables"], got["configuration"]


def tier(value):
    return "contraindicated" if value >= 96 else "warning" if value >= 32 else "affirming" if value >= 2 else "none"


def status(values):
    order = ("none", "affirming", "warning", "contraindicated")
    return max((tier(v) for v in values), key=order.index)


CLAIMS = sorted(("instance-identity", "configuration", "executables", "file-system", "hardware", "runtime-opaque",
                 "storage-opaque", "sourced-data"))  # fmt: skip
CPU = policy_text("attestation", "cpu", "query")
GPU = policy_text("attestation", "gpu", "query")
SNP = {
    "policy_abi_major": 0, "policy_abi_minor": 31, "policy_smt_allowed": True, "policy_migrate_ma": False,
    "policy_debug_allowed": False, "policy_single_socket": False, "reported_tcb_bootloader": 7, "reported_tcb_tee": 0,
    "reported_tcb_snp": 20, "reported_tcb_microcode": 72, "platform_tsme_enabled": True, "platform_smt_enabled": True,
    "measurement": "ab" * 48, "chip_id": "00" * 64,
}  # fmt: skip
SNP_REFERENCES = {
    "snp_launch_measurement": ["cd" * 48, "ab" * 48], "snp_bootloader": [7, 8], "snp_microcode": [72],
    "snp_snp_svn": [20], "snp_tee_svn": [0],
}  # fmt: skip
SNP_SETTINGS = {
    "snp_smt_enabled": [True], "snp_tsme_enabled": True, "snp_guest_abi_major": [0], "snp_guest_abi_minor": 31,
    "snp_single_socket": [False], "snp_smt_allowed": True,
}  # fmt: skip
TDX = {
    "quote": {
        "header": {"tee_type": "81000000", "vendor_id": "939a7233f79c4ca9940a0db3957f0607"},
        "body": {"mr_td": "aa" * 48, "rtmr_1": "bb" * 48, "rtmr_2": "cc" * 48, "xfam": "e702060000000000"},
    },
    "td_attributes": {"debug": False, "perfmon": False},
    "tcb_status": "UpToDate",
    "collateral_expiration_status": "0",
}
TDX_REFERENCES = {"mr_td": ["aa" * 48], "rtmr_1": ["bb" * 48], "rtmr_2": ["cc" * 48], "xfam": ["e702060000000000"]}
PCRS = {f"pcr{i:02}": f"{i:02x}" * 32 for i in range(24)}


def as_text(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


AZ_SNP = {key: as_text(value) for key, value in SNP.items()} | {"tpm": PCRS}
AZ_SNP_REFERENCES = {
    "measurement": ["ab" * 48], "snp_pcr11": ["0b" * 32], "tcb_bootloader": ["7"], "tcb_microcode": ["72"],
    "tcb_snp": ["20"], "tcb_tee": ["0"],
}  # fmt: skip
AZ_SNP_SETTINGS = {
    "smt_enabled": ["true"], "tsme_enabled": ["true"], "abi_major": ["0"], "abi_minor": ["31"],
    "single_socket": ["false"], "smt_allowed": ["true"],
}  # fmt: skip
AZ_TDX = copy.deepcopy(TDX) | {"tpm": PCRS}
AZ_TDX_REFERENCES = {"mr_td": ["aa" * 48], "xfam": ["e702060000000000"], "tdx_pcr11": ["0b" * 32]}
SE = {"version": 256, "cuid": "00" * 16, "tag": "11" * 16, "image_phkh": "22" * 32, "attestation_phkh": "33" * 32}
CCA = {
    "realm": {
        "cca-realm-initial-measurement": "EJHT", "cca-realm-hash-algo-id": "sha-256",
        "cca-realm-extensible-measurements": ["AAAA"], "cca-realm-personalization-value": "AAAA",
    },
    "platform": {"cca-platform-implementation-id": "f0VM", "cca-platform-instance-id": "AQcG"},
}  # fmt: skip
CCA_REFERENCES = {"cca_realm_initial_measurement": ["EJHT"], "cca_platform_implementation_id": ["f0VM"]}
SAMPLE = {"svn": "1", "launch_digest": "abcde", "platform_version": {"major": 1, "minor": 4}, "debug": False}
SAMPLE_REFERENCES = {"launch_digest": ["abcde"], "svn": ["1"], "major_version": 1, "minimum_minor_version": 4}
CHAIN = {"x-nvidia-cert-status": "valid", "x-nvidia-cert-ocsp-status": "good", "x-nvidia-cert-revocation-reason": None}
NRAS_TRUE = [
    "attestation-report-cert-chain-fwid-match", "attestation-report-parsed", "attestation-report-signature-verified",
    "arch-check",
    *(f"{kind}-rim-{fact}" for kind in ("driver", "vbios") for fact in
      ("fetched", "measurements-available", "schema-validated", "signature-verified", "version-match")),
]  # fmt: skip
REMOTE = {
    **{f"x-nvidia-gpu-{name}": True for name in NRAS_TRUE},
    **{f"x-nvidia-gpu-{kind}-cert-chain": CHAIN for kind in ("attestation-report", "driver-rim", "vbios-rim")},
    "measres": "success", "secboot": True, "dbgstat": "disabled", "hwmodel": "GH100 A01 GSP BROM",
    "x-nvidia-gpu-vbios-version": "96.00.9F.00.01", "x-nvidia-gpu-driver-version": "550.90.07",
    "x-nvidia-overall-att-result": True,
}  # fmt: skip
VERSIONS = {"allowed_vbios_versions": ["96.00.9F.00.01"], "allowed_driver_versions": ["550.90.07", "575.32"]}
LOCAL = {
    "arch": "Hopper", "uuid": "1111", "config": {"driver_version": "550.90.07", "vbios_version": "96.00.9F.00.01"},
    "measurements": {"1": "00", "7": "68", "8": "80"},
}  # fmt: skip
LOCAL_REFERENCES = VERSIONS | {"allowed_measurements": [{"7": "ff"}, {"7": "68", "8": "80"}]}
BEST = {
    "snp": (CPU, SNP, SNP_REFERENCES, (2, 3, 3)),
    "snp, all settings given": (CPU, SNP, SNP_REFERENCES | SNP_SETTINGS, (2, 3, 2)),
    "tdx": (CPU, TDX, TDX_REFERENCES, (2, 3, 2)),
    "az-snp-vtpm": (CPU, AZ_SNP, AZ_SNP_REFERENCES, (2, 3, 3)),
    "az-snp-vtpm, all settings given": (CPU, AZ_SNP, AZ_SNP_REFERENCES | AZ_SNP_SETTINGS, (2, 3, 2)),
    "az-tdx-vtpm": (CPU, AZ_TDX, AZ_TDX_REFERENCES, (2, 3, 2)),
    "se": (CPU, SE, {}, (2, 3, 2)),
    "cca": (CPU, CCA, CCA_REFERENCES, (2, 3, 2)),
    "sample": (CPU, SAMPLE, SAMPLE_REFERENCES, (2, 3, 2)),
    "nvidia, remote": (GPU, REMOTE, VERSIONS, (2, 3, 2)),
    "nvidia, remote, no versions given": (GPU, REMOTE, {}, (2, 3, 3)),
    "nvidia, local": (GPU, LOCAL, LOCAL_REFERENCES, (2, 3, 2)),
}
NOTHING = (97, 33, 36)


def tee_of(name):
    return name.split(",")[0]


def leaves(value, path=()):
    """The path of every member that is no object."""
    if isinstance(value, dict) and value:
        for key in value:
            yield from leaves(value[key], (*path, key))
    else:
        yield path


def replaced(value, path, new):
    """A copy with another leaf, or without it."""
    made = copy.deepcopy(value)
    place = made
    for key in path[:-1]:
        place = place[key]
    if new is ABSENT:
        del place[path[-1]]
    else:
        place[path[-1]] = new
    return made


for name, (text, claims, references, want) in BEST.items():

    @test(f"{name}: the best evidence is affirming")
    def _(name=name, text=text, claims=claims, references=references, want=want):
        got = tiers(text, {tee_of(name): claims, "report_data": "00", "init_data": "11"}, references, each=True)
        equal(got, want, "hardware, executables, configuration")
        equal(status(got), "affirming", "the status")

    @test(f"{name}: a reference value that isn't given, is null, empty, or another, is never worth more")
    def _(name=name, text=text, claims=claims, references=references, want=want):
        for reference, value in references.items():
            for new in (ABSENT, None, [], [None], {}, "other", ["other"], [[value]], 10**6):
                got = tiers(text, {tee_of(name): claims}, replaced(references, (reference,), new))
                if reference in SNP_SETTINGS | AZ_SNP_SETTINGS | VERSIONS and name != "nvidia, local":
                    given = new not in (ABSENT, None) or any(v in references for v in VERSIONS)
                    better = (2, 3, 32 if given else 3)
                    equal(got, better, f"what it is worth with {reference} = {new!r}")
                elif reference == "minimum_minor_version" and new is False:
                    equal(got[0], 97, "the hardware where the minimum is no number")
                else:
                    check(status(got) != "affirming", f"with {reference} = {new!r} it is {got}")

    @test(f"{name}: without any reference value nothing is affirming but what the verifier vouches for")
    def _(name=name, text=text, claims=claims):
        got = tiers(text, {tee_of(name): claims}, {})
        equal(status(got) == "affirming", name.startswith(("se", "nvidia, remote")), f"whether {got} is affirming")

    @test(f"{name}: no claim that is missing or odd makes it worth more")
    def _(name=name, text=text, claims=claims, references=references, want=want):
        for path in leaves(claims):
            for new in (ABSENT, None, "", "other", [], {}, -1, 99, True, False, "true", "false", 0, 1):
                got = tiers(text, {tee_of(name): replaced(claims, path, new)}, references)
                worse = [tier(g) != "affirming" for g, w in zip(got, want, strict=True) if g != w]
                check(all(worse), f"with {path} = {new!r} it is {got}")

    @test(f"{name}: a null among the reference values approves of no claim that is null")
    def _(name=name, text=text, claims=claims, references=references, want=want):
        nulls = {k: [*(v if isinstance(v, list) else [v]), None] for k, v in references.items()}
        equal(tiers(text, {tee_of(name): claims}, nulls), want, "what the claims are worth")
        for path in leaves(claims):
            got = tiers(text, {tee_of(name): replaced(claims, path, None)}, nulls)
            same = tiers(text, {tee_of(name): replaced(claims, path, None)}, references)
            equal(got, same, f"what it is worth without {path}")


for name in BEST:
    text, claims, references, _want = BEST[name]
    tee = tee_of(name)

    @test(f"{name}: evidence of another shape is worth nothing")
    def _(text=text, claims=claims, references=references, tee=tee):
        for odd in ODD:
            equal(tiers(text, {tee: odd}, references), NOTHING, f"what {odd!r} is worth")
        for odd in (*ODD, [claims], {tee: {tee: claims}}):
            equal(tiers(text, odd, references), NOTHING, f"what {odd!r} is worth")


@test("evidence of two TEEs at once is worth nothing")
def _():
    every = [(name, *row) for name, row in BEST.items() if row[0] == CPU]
    for a, b in itertools.combinations(every, 2):
        if tee_of(a[0]) != tee_of(b[0]):
            got = tiers(CPU, {tee_of(a[0]): a[2], tee_of(b[0]): b[2]}, a[3] | b[3])
            equal(got, NOTHING, f"what {a[0]} and {b[0]} are worth")


# (name, policy, TEE, claims, references, what is changed, what it is worth)
ROWS = [
    ("snp: another measurement", "snp", {"measurement": "ee" * 48}, (2, 33, 3)),
    ("snp: an older firmware", "snp", {"reported_tcb_snp": 19}, (97, 3, 3)),
    ("snp: a number as text is another value", "snp", {"reported_tcb_snp": "20"}, (97, 3, 3)),
    ("snp: debugging allowed", "snp", {"policy_debug_allowed": True}, (2, 3, 96)),
    ("snp: debugging allowed, as a number", "snp", {"policy_debug_allowed": 1}, (2, 3, 96)),
    ("snp: migration allowed", "snp", {"policy_migrate_ma": True}, (2, 3, 96)),
    ("snp: debugging allowed, migration unknown", "snp",
     {"policy_debug_allowed": True, "policy_migrate_ma": "x"}, (2, 3, 96)),
    ("snp: debugging unknown", "snp", {"policy_debug_allowed": None}, (2, 3, 36)),
    ("snp: flags as numbers", "snp", {"policy_debug_allowed": 0, "policy_migrate_ma": 0}, (2, 3, 3)),
    ("snp: a setting differs", "snp, all settings given", {"platform_smt_enabled": False}, (2, 3, 32)),
    ("snp: debugging, all settings given", "snp, all settings given", {"policy_debug_allowed": True}, (2, 3, 96)),
    ("az-snp-vtpm: debugging allowed", "az-snp-vtpm", {"policy_debug_allowed": "true"}, (2, 3, 96)),
    ("az-snp-vtpm: migration allowed", "az-snp-vtpm", {"policy_migrate_ma": "true"}, (2, 3, 96)),
    ("az-snp-vtpm: another kernel", "az-snp-vtpm", {"tpm": PCRS | {"pcr11": "ff" * 32}}, (2, 33, 3)),
    ("az-snp-vtpm: another VM firmware", "az-snp-vtpm", {"measurement": "x"}, (2, 33, 3)),
    ("az-snp-vtpm: no registers", "az-snp-vtpm", {"tpm": {}}, (2, 33, 3)),
    ("az-tdx-vtpm: another kernel", "az-tdx-vtpm", {"tpm": PCRS | {"pcr11": "ff" * 32}}, (2, 33, 2)),
    ("az-tdx-vtpm: debugging", "az-tdx-vtpm", {"td_attributes": {"debug": True}}, (2, 3, 96)),
    ("tdx: debugging", "tdx", {"td_attributes": {"debug": True}}, (2, 3, 96)),
    ("tdx: debugging unknown", "tdx", {"td_attributes": {}}, (2, 3, 36)),
    ("tdx: collateral expired", "tdx", {"collateral_expiration_status": "1"}, (32, 3, 2)),
    ("tdx: an unknown status", "tdx", {"tcb_status": "TerminalStatus"}, (97, 3, 2)),
    *(
        (f"tdx: {status_}", "tdx", {"tcb_status": status_}, (32, 3, 2))
        for status_ in ("SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded",
                        "TDRelaunchAdvised", "TDRelaunchAdvisedConfigurationNeeded")
    ),
    ("tdx: OutOfDate", "tdx", {"tcb_status": "OutOfDate"}, (96, 3, 2)),
    ("tdx: OutOfDateConfigurationNeeded", "tdx", {"tcb_status": "OutOfDateConfigurationNeeded"}, (96, 3, 2)),
    ("se: no image", "se", {"image_phkh": ""}, NOTHING),
    ("sample: debugging", "sample", {"debug": True}, (2, 3, 36)),
    ("sample: a newer minor version", "sample", {"platform_version": {"major": 1, "minor": 5}}, (2, 3, 2)),
    ("sample: an older minor version", "sample", {"platform_version": {"major": 1, "minor": 3}}, (97, 3, 2)),
    ("sample: a minor version of text", "sample", {"platform_version": {"major": 1, "minor": "5"}}, (97, 3, 2)),
    ("cca: another realm", "cca", {"realm": {"cca-realm-initial-measurement": "AAAA"}}, (2, 33, 36)),
    ("cca: another platform", "cca", {"platform": {"cca-platform-implementation-id": "AAAA"}}, (97, 3, 2)),
    ("nvidia: debugging", "nvidia, remote", {"dbgstat": "enabled"}, (2, 3, 96)),
    ("nvidia: no secure boot", "nvidia, remote", {"secboot": False}, (2, 3, 96)),
    ("nvidia: another driver", "nvidia, remote", {"x-nvidia-gpu-driver-version": "1"}, (2, 3, 32)),
    ("nvidia: measurements differ", "nvidia, remote", {"measres": "fail"}, (2, 33, 2)),
    ("nvidia: report not signed", "nvidia, remote",
     {"x-nvidia-gpu-attestation-report-signature-verified": False}, (97, 3, 2)),
    ("nvidia: report's certificate revoked", "nvidia, remote",
     {"x-nvidia-gpu-attestation-report-cert-chain": CHAIN | {"x-nvidia-cert-ocsp-status": "revoked"}}, (97, 3, 2)),
    ("nvidia: driver's certificate expired", "nvidia, remote",
     {"x-nvidia-gpu-driver-rim-cert-chain": CHAIN | {"x-nvidia-cert-status": "expired"}}, (2, 33, 2)),
    ("nvidia: claims of both verifiers", "nvidia, remote", LOCAL, NOTHING),
    ("nvidia, local: another driver", "nvidia, local",
     {"config": {"driver_version": "1", "vbios_version": "96.00.9F.00.01"}}, NOTHING),
    ("nvidia, local: another measurement", "nvidia, local", {"measurements": {"7": "68", "8": "81"}}, (2, 33, 36)),
    ("nvidia, local: another architecture", "nvidia, local", {"arch": "Ampere"}, (97, 3, 2)),
]  # fmt: skip

for title, name, change, want in ROWS:

    @test(title)
    def _(name=name, change=change, want=want):
        text, claims, references, _best = BEST[name]
        equal(tiers(text, {tee_of(name): claims | change}, references), want, "hardware, executables, configuration")


# What an admin may give besides, and what it then means.
GIVEN = [
    ("az-snp-vtpm: an optional register as given", "az-snp-vtpm", {"snp_pcr08": ["08" * 32]}, (2, 3, 3)),
    ("az-snp-vtpm: an optional register that differs", "az-snp-vtpm", {"snp_pcr08": ["09" * 32]}, (2, 33, 3)),
    ("az-tdx-vtpm: optional registers as given", "az-tdx-vtpm",
     {"tdx_pcr03": "03" * 32, "tdx_pcr09": ["x", "09" * 32], "tdx_pcr12": ["0c" * 32]}, (2, 3, 2)),
    ("az-tdx-vtpm: an optional register that differs", "az-tdx-vtpm", {"tdx_pcr12": ["0b" * 32]}, (2, 33, 2)),
    ("se: images as given", "se", {"se_tag": ["11" * 16], "se_image_phkh": "22" * 32}, (2, 3, 2)),
    ("se: another image", "se", {"se_image_phkh": ["44" * 32]}, NOTHING),
    ("se: another attestation key", "se", {"se_attestation_phkh": ["44" * 32]}, NOTHING),
    ("se: no image is approved", "se", {"se_tag": []}, NOTHING),
    ("snp: a setting as given, others not given", "snp", {"snp_smt_enabled": [True]}, (2, 3, 3)),
    ("snp: a setting that differs, others not given", "snp", {"snp_smt_enabled": [False]}, (2, 3, 32)),
    ("snp: a setting for which nothing is approved", "snp", {"snp_smt_enabled": []}, (2, 3, 32)),
    ("nvidia: only the driver's version is given", "nvidia, remote, no versions given",
     {"allowed_driver_versions": ["550.90.07"]}, (2, 3, 32)),
    ("nvidia, local: measurements that name nothing", "nvidia, local", {"allowed_measurements": [{}]}, (2, 33, 36)),
    ("nvidia, local: measurements as one object", "nvidia, local", {"allowed_measurements": {"7": "68"}}, (2, 3, 2)),
    ("nvidia, local: a measurement that the report lacks", "nvidia, local",
     {"allowed_measurements": [{"7": "68", "9": "90"}]}, (2, 33, 36)),
]  # fmt: skip

for title, name, more, want in GIVEN:

    @test(title)
    def _(name=name, more=more, want=want):
        text, claims, references, _best = BEST[name]
        equal(tiers(text, {tee_of(name): claims}, references | more), want, "hardware, executables, configuration")


for tee in ("csv", "sgx", "tpm", "hygondcu", "nvidia-dpu", "sampledevice"):

    @test(f"{tee} is not recognized by either policy")
    def _(tee=tee):
        everything = {k: v for row in BEST.values() for k, v in row[2].items()} | {"device_svn": ["1"]}
        for text in (CPU, GPU):
            equal(tiers(text, {tee: {"svn": "1", "pcr11": "0b" * 32}}, everything), NOTHING, "what it is worth")


@test("reference values come from data.reference for Trustee 0.13 to 0.15")
def _():
    texts = {CPU: policy_text("attestation", "cpu", "data"), GPU: policy_text("attestation", "gpu", "data")}
    for name, (text, claims, references, want) in BEST.items():
        old = texts[text]
        check(old != text and "query_reference_value(" not in old, "the text still queries")
        equal(tiers(old, {tee_of(name): claims}, references, False, True), want, f"what {name} is worth")
        got = tiers(old, {tee_of(name): claims}, {}, False, True)
        vouched = name.startswith(("se", "nvidia, remote"))
        equal(status(got) == "affirming", vouched, f"whether {name} is affirming without reference values")


# ---- All texts

TEXTS = {
    **{path.name: path.read_text() for path in sorted(FOLDER.glob("*.rego"))},
    **{f"resource policy {profile}": text for profile, text in PLAIN.items()},
    **{f"resource policy {profile} with bindings": text for profile, text in BOUND.items()},
    "attestation policy for CPUs, old": policy_text("attestation", "cpu", "data"),
    "attestation policy for GPUs, old": policy_text("attestation", "gpu", "data"),
}
BUILTINS = {"concat", "count", "is_array", "is_null", "is_number", "is_object", "is_string", "object.get",
            "object.keys", "regex.match", "split", "startswith"}  # fmt: skip

for name, text in TEXTS.items():

    @test(f"{name} parses, says rego.v1 once, and is package policy")
    def _(text=text):
        made = regorus.Engine()
        made.set_rego_v0(True)  # as older releases of the engine start: then the import counts
        made.add_policy("policy", text)
        equal(made.get_packages(), ["data.policy"], "the package")
        head = re.findall(r"^(?:package|import) .*", text, re.MULTILINE)
        equal(head, ["package policy", "import rego.v1"], "the head")

    @test(f"{name} calls only functions of its own and of the engine's features regex, base64, time, std")
    def _(text=text):
        code = re.sub(r'`[^`]*`|#.*|"(\\.|[^"\\])*"', "", text)
        own = set(re.findall(r"^(\w+)\(", code, re.MULTILINE)) | {"query_reference_value", "affirming", "general"}
        equal(set(re.findall(r"[\w.]+(?=\()", code)) - own - BUILTINS, set(), "the set of other functions")


main()
