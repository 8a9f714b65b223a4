"""Tests of the agent policies in common/policies, with regorus, the Rego engine of the Kata agent.

    "$(hack/pyenv.sh)" tests/policy/test_policies.py [FOLDER]     TAP on stdout; FOLDER: other policies than ours

Each request is asked for as the agent does (src/agent/policy/src/policy.rs of Kata Containers 4.1): the engine keeps
the policy, the query is data.agent_policy.NAME, the input is the request in JSON with the names of agent.proto. All
is asked twice, in Rego v0 and v1: newer agents read a policy as v1, older ones as v0.
"""

import json
import pathlib
import re
import stat
import sys
import traceback

import regorus

FOLDER = pathlib.Path(sys.argv[1]) if sys.argv[1:] else pathlib.Path(__file__).parents[2] / "common/policies"

_cases = []


def test(name):
    """Registers the decorated function as a test case."""
    return lambda function: _cases.append((name, function))


def equal(got, want, what):
    """Fails unless both values are equal, and shows both."""
    assert got == want, f"{what} differs\n   got: {got!r}\n  want: {want!r}"


def main():
    """Runs the registered cases and exits."""
    print(f"1..{len(_cases)}")
    failed = 0
    for number, (name, function) in enumerate(_cases, 1):
        try:
            function()
            print(f"ok {number} - {name}")
        except Exception as error:
            failed += 1
            print(f"not ok {number} - {name}")
            lines = str(error) if isinstance(error, AssertionError) else traceback.format_exc()
            print("\n".join(f"# {line}" for line in lines.splitlines()))
    sys.exit(1 if failed else 0)


# ---- The policies, as the agent asks them

VERSIONS = ("v0", "v1")


def load(preset, version):
    engine = regorus.Engine()
    engine.set_rego_v0(version == "v0")
    engine.add_data_json('{"pstate": {}}')
    engine.add_policy("agent_policy", (FOLDER / preset).read_text())
    return engine


_engines = {}


def ask(preset, version, request, content):
    """What the policy says: "allowed", "refused", or "undefined", which the agent refuses as well.

    One engine answers all questions on a policy, as in the agent: no answer may depend on an earlier one.
    """
    if (preset, version) not in _engines:
        _engines[preset, version] = load(preset, version)
    engine = _engines[preset, version]
    engine.set_input_json(json.dumps(content))
    result = engine.eval_query(f"data.agent_policy.{request}")["result"]
    if not result:
        return "undefined"
    (value,) = (expression["value"] for expression in result[0]["expressions"])
    return {True: "allowed", False: "refused"}[value]


# ---- Requests, as the runtimes send them

CONTAINER = "3f" * 32
SHARED = "/run/kata-containers/shared/containers/"
VOLUME = f"{SHARED}{CONTAINER}-00112233445566ff-"


def copy_file(path, kind=stat.S_IFREG, target=None, mode=0o644):
    """The agent leaves the data out of what the policy sees, and adds file_type and symlink_target."""
    types = {stat.S_IFREG: "Regular", stat.S_IFDIR: "Directory", stat.S_IFLNK: "Symlink"}
    return {
        "path": path,
        "file_type": types[kind],
        "symlink_target": target,
        "file_size": 0 if kind == stat.S_IFDIR else 12,
        "file_mode": kind | mode,
        "dir_mode": stat.S_IFDIR | 0o750,
        "uid": 0,
        "gid": 0,
        "offset": 0,
    }


def process(*arguments):
    return {
        "Terminal": False,
        "ConsoleSize": None,
        "User": {"UID": 65532, "GID": 65532, "AdditionalGids": [65532], "Username": ""},
        "Args": list(arguments),
        "Env": ["PATH=/usr/bin:/bin"],
        "Cwd": "/",
        "Capabilities": {"Bounding": [], "Effective": [], "Inheritable": [], "Permitted": [], "Ambient": []},
        "Rlimits": [],
        "NoNewPrivileges": True,
        "ApparmorProfile": "",
        "OOMScoreAdj": 1000,
        "SelinuxLabel": "",
    }


def create_container(arguments, hooks=None, device_rules=()):
    return {
        "container_id": CONTAINER,
        "exec_id": CONTAINER,
        "string_user": None,
        "devices": [],
        "storages": [
            {
                "driver": "image_guest_pull",
                "driver_options": ['image_guest_pull={"metadata":{}}'],
                "source": "registry.example/step:1",
                "fstype": "overlay",
                "options": [],
                "mount_point": f"/run/kata-containers/{CONTAINER}/rootfs",
                "fs_group": None,
                "shared": False,
            }
        ],
        "OCI": {
            "Version": "1.2.0",
            "Process": process(*arguments),
            "Root": {"Path": f"/run/kata-containers/{CONTAINER}/rootfs", "Readonly": False},
            "Hostname": "",
            "Mounts": [
                {
                    "destination": "/tekton/downward",
                    "source": VOLUME + "downward",
                    "type": "bind",
                    "options": ["rbind", "rprivate", "ro"],
                }
            ],
            "Hooks": hooks,
            "Annotations": {"io.kubernetes.container.terminationMessagePath": "/tekton/termination"},
            "Linux": {
                "UIDMappings": [],
                "GIDMappings": [],
                "Sysctl": {},
                "Resources": {
                    "Devices": list(device_rules),
                    "Memory": {"Limit": 1 << 30},
                    "CPU": {"Shares": 102, "Cpus": "", "Mems": ""},
                    "Pids": None,
                    "BlockIO": None,
                    "HugepageLimits": [],
                    "Network": None,
                },
                "CgroupsPath": f"kubepods-besteffort.slice:cri-containerd:{CONTAINER}",
                "Namespaces": [{"Type": "ipc", "Path": ""}, {"Type": "mount", "Path": ""}],
                "Devices": [],
                "Seccomp": None,
                "RootfsPropagation": "",
                "MaskedPaths": ["/proc/kcore"],
                "ReadonlyPaths": ["/proc/sys"],
                "MountLabel": "",
                "IntelRdt": None,
            },
            "Solaris": None,
            "Windows": None,
        },
        "sandbox_pidns": False,
        "shared_mounts": [],
        "stdin_port": 0,
        "stdout_port": 0,
        "stderr_port": 0,
    }


def hooks(**lists):
    kinds = ("Prestart", "Poststart", "Poststop", "CreateRuntime", "CreateContainer", "StartContainer")
    return {kind: lists.get(kind, []) for kind in kinds}


DEVICE_RULE = {"Allow": True, "Type": "a", "Major": -1, "Minor": -1, "Access": "rwm"}
HOOK = [{"Path": "/bin/sh", "Args": ["sh", "-c", "id"], "Env": [], "Timeout": 0}]


def create_sandbox(guest_hook_path="", kernel_modules=()):
    return {
        "hostname": "build-pod",
        "dns": ["nameserver 10.96.0.10"],
        "storages": [],
        "sandbox_pidns": False,
        "sandbox_id": CONTAINER,
        "guest_hook_path": guest_hook_path,
        "kernel_modules": list(kernel_modules),
    }


def update_interface(name="eth0", address="02:42:ac:11:00:02"):
    return {
        "interface": {
            "device": "eth0",
            "name": name,
            "IPAddresses": [{"family": 0, "address": "10.244.0.7", "mask": "24"}],
            "mtu": 1500,
            "hwAddr": address,
            "devicePath": "02/00",
            "type": "",
            "raw_flags": 0,
        }
    }


def update_routes(*routes):
    common = {"dest": "", "gateway": "10.244.0.1", "device": "eth0", "source": "", "scope": 0, "family": 0}
    return {"routes": {"Routes": [{**common, "flags": 0, "mtu": 0, **route} for route in routes]}}


def add_neighbors(device="eth0", address="10.244.0.1"):
    to = {"family": 0, "address": address, "mask": ""}
    neighbor = {"toIPAddress": to, "device": device, "lladdr": "02:42:ac:11:00:01", "state": 128, "flags": 0}
    return {"neighbors": {"ARPNeighbors": [neighbor]}}


PROCESS = {"container_id": CONTAINER, "exec_id": CONTAINER}
EXEC = {
    "container_id": CONTAINER,
    "exec_id": "e1",
    "string_user": None,
    "process": process("/bin/sh"),
    "stdin_port": 0,
    "stdout_port": 0,
    "stderr_port": 0,
}
RESOURCES = create_container(["sh"])["OCI"]["Linux"]["Resources"]

# An ordinary one of each request that an agent of Kata Containers 4.1 asks its policy about, and the presets that
# allow it: n(oExec), a(llowAll), s(trict).
REQUESTS = {
    "AddARPNeighborsRequest": ("nas", add_neighbors()),
    "AddSwapPathRequest": ("a", {"path": "/dev/vdb"}),
    "AddSwapRequest": ("a", {"PCIPath": [2]}),
    "CloseStdinRequest": ("na", PROCESS),
    "CopyFileRequest": ("nas", copy_file(VOLUME + "token")),
    "CreateContainerRequest": ("nas", create_container(["/tekton/bin/entrypoint"])),
    "CreateSandboxRequest": ("nas", create_sandbox()),
    "DestroySandboxRequest": ("nas", {}),
    "ExecProcessRequest": ("a", EXEC),
    "GetDiagnosticDataRequest": ("nas", {"log_type": "termination_log", "container_id": CONTAINER}),
    "GetIPTablesRequest": ("a", {"is_ipv6": False}),
    "GetMetricsRequest": ("na", {}),
    "GetOOMEventRequest": ("nas", {}),
    "GuestDetailsRequest": ("nas", {"mem_block_size": True, "mem_hotplug_probe": True}),
    "ListInterfacesRequest": ("na", {}),
    "ListRoutesRequest": ("na", {}),
    "MemAgentCompactConfig": ("a", {"disabled": False}),
    "MemAgentMemcgConfig": ("a", {"disabled": False, "swap": True}),
    "MemHotplugByProbeRequest": ("a", {"memHotplugProbeAddr": [4294967296]}),
    "OnlineCPUMemRequest": ("na", {"wait": False, "nb_cpus": 2, "cpu_only": False}),
    "PauseContainerRequest": ("a", {"container_id": CONTAINER}),
    "ReadStreamRequest": ("nas", {**PROCESS, "len": 32768}),
    "RemoveContainerRequest": ("nas", {"container_id": CONTAINER, "timeout": 0}),
    "RemoveStaleVirtiofsShareMountsRequest": ("nas", {}),
    "ReseedRandomDevRequest": ("na", {"data": [1, 2, 3]}),
    "ResizeVolumeRequest": ("a", {"volume_guest_path": "/run/x", "size": 1}),
    "ResumeContainerRequest": ("a", {"container_id": CONTAINER}),
    "SetGuestDateTimeRequest": ("na", {"Sec": 1787000000, "Usec": 0}),
    "SetIPTablesRequest": ("a", {"is_ipv6": False, "data": [42]}),
    "SetPolicyRequest": ("", {"policy": "package agent_policy\ndefault ExecProcessRequest := true\n"}),
    "SignalProcessRequest": ("nas", {**PROCESS, "signal": 15}),
    "StartContainerRequest": ("nas", {"container_id": CONTAINER}),
    "StatsContainerRequest": ("nas", {"container_id": CONTAINER}),
    "TtyWinResizeRequest": ("a", {**PROCESS, "row": 24, "column": 80}),
    "UpdateContainerRequest": ("na", {"container_id": CONTAINER, "resources": RESOURCES}),
    "UpdateEphemeralMountsRequest": ("na", {"storages": []}),
    "UpdateInterfaceRequest": ("nas", update_interface()),
    "UpdateRoutesRequest": ("nas", update_routes({})),
    "VolumeStatsRequest": ("a", {"volume_guest_path": "/run/x"}),
    "WaitProcessRequest": ("nas", PROCESS),
    "WriteStreamRequest": ("a", {**PROCESS, "data": [105, 100, 10]}),
}
PRESETS = {"no-exec.rego": "n", "allow-all.rego": "a", "strict.rego": "s"}

# A TaskRun's life: the requests of both runtimes (only Go: the stale mounts; not all pods: neighbours, links).
DIRECTORY, LINK = stat.S_IFDIR, stat.S_IFLNK
DOWNWARD = VOLUME + "downward"
TIMESTAMP = "/..2026_08_22_10_04_14.1257228"


def ordinary(name):
    return name, REQUESTS[name][1]


def container(*arguments):
    return [
        ("CopyFileRequest", copy_file(VOLUME + "resolv.conf")),
        ("CopyFileRequest", copy_file(VOLUME + "termination", mode=0o666)),
        ("CreateContainerRequest", create_container(arguments)),
        ordinary("StartContainerRequest"),
        ordinary("WaitProcessRequest"),
        ordinary("ReadStreamRequest"),
        ordinary("StatsContainerRequest"),
    ]


END_OF_CONTAINER = [
    ordinary("SignalProcessRequest"),
    ordinary("WaitProcessRequest"),
    ordinary("GetDiagnosticDataRequest"),
    ordinary("RemoveContainerRequest"),
    ordinary("RemoveStaleVirtiofsShareMountsRequest"),
]
LIFE = [
    ordinary("GuestDetailsRequest"),
    ordinary("UpdateInterfaceRequest"),
    ("UpdateRoutesRequest", update_routes({}, {"dest": "10.244.0.0/24", "gateway": "", "source": "10.244.0.7"})),
    ("UpdateRoutesRequest", update_routes({"dest": "fd00:1::/64", "gateway": "", "source": "fd00:1::1", "family": 1})),
    ordinary("AddARPNeighborsRequest"),
    ordinary("CreateSandboxRequest"),
    ordinary("GetOOMEventRequest"),
    *container("/pause"),
    *container("/ko-app/entrypoint", "init"),
    *END_OF_CONTAINER,
    ("CreateContainerRequest", create_container(["/runtime-rs/keeps/empty/lists"], hooks=hooks())),
    # volumes: of kubelet (Secret, token, downwardAPI), of a container; disks of a pod are named "sandbox" (Go)
    ("CopyFileRequest", copy_file(DOWNWARD, DIRECTORY, mode=0o755 | stat.S_ISVTX)),
    ("CopyFileRequest", copy_file(DOWNWARD + TIMESTAMP, DIRECTORY, mode=0o755)),
    ("CopyFileRequest", copy_file(DOWNWARD + TIMESTAMP + "/ready")),
    ("CopyFileRequest", copy_file(DOWNWARD + "/..data", LINK, TIMESTAMP[1:], mode=0o777)),
    ("CopyFileRequest", copy_file(DOWNWARD + "/ready", LINK, "..data/ready", mode=0o777)),
    ("CopyFileRequest", copy_file(f"{SHARED}sandbox-00112233445566ff-workspace", DIRECTORY, mode=0o777)),
    ("CopyFileRequest", copy_file(f"{SHARED}sandbox-00112233445566ff-workspace/a..b/c..")),
    *container("/tekton/bin/entrypoint", "-wait_file", "/tekton/downward/ready"),
    *container("/sidecar"),
    ("CopyFileRequest", copy_file(DOWNWARD + TIMESTAMP + "0/ready")),
    ("CopyFileRequest", copy_file(DOWNWARD + "/..data", LINK, TIMESTAMP[1:] + "0", mode=0o777)),
    *END_OF_CONTAINER,
    *END_OF_CONTAINER,
    ordinary("DestroySandboxRequest"),
]

# What a hostile host may try beyond REQUESTS: refused by Strict. NoExec's and AllowAll's limits are whole requests.
ATTACKS = [
    ("CopyFile to /etc", "CopyFileRequest", copy_file("/etc/ld.so.preload")),
    ("CopyFile to a relative path", "CopyFileRequest", copy_file(VOLUME[1:] + "token")),
    ("CopyFile over the initdata", "CopyFileRequest", copy_file("/run/confidential-containers/initdata/policy.rego")),
    ("CopyFile into a pulled image", "CopyFileRequest", copy_file(f"/run/kata-containers/{CONTAINER}/rootfs/bin/sh")),
    ("CopyFile into a root folder", "CopyFileRequest", copy_file(f"{SHARED}{CONTAINER}/rootfs/bin/sh")),
    ("CopyFile to one random part", "CopyFileRequest", copy_file(f"{SHARED}00112233445566ff-token")),
    ("CopyFile into watchable", "CopyFileRequest", copy_file(f"{SHARED}watchable/{CONTAINER}-00ff-token")),
    ("CopyFile to the folder itself", "CopyFileRequest", copy_file(SHARED, DIRECTORY)),
    ("CopyFile next to the folder", "CopyFileRequest", copy_file(f"{SHARED[:-1]}-{CONTAINER}-00ff-token")),
    ("CopyFile below another prefix", "CopyFileRequest", copy_file(f"/etc{VOLUME}token")),
    ("CopyFile through ..", "CopyFileRequest", copy_file(f"{VOLUME}x/../../../../../../etc/passwd")),
    ("CopyFile to ..", "CopyFileRequest", copy_file(f"{VOLUME}x/..", DIRECTORY)),
    ("CopyFile through .. at once", "CopyFileRequest", copy_file(f"{SHARED}../a-0-b")),
    ("CopyFile link through ..", "CopyFileRequest", copy_file(f"{VOLUME}x/../y", LINK, "/etc", mode=0o777)),
    ("CopyFile after a line break", "CopyFileRequest", copy_file(f"/etc/passwd\n{VOLUME}token")),
    ("CopyFile through .. after a line break", "CopyFileRequest", copy_file(f"{VOLUME}x\n/../../a")),
    ("CopyFile without a path", "CopyFileRequest", {}),
    ("kernel module", "CreateSandboxRequest", create_sandbox(kernel_modules=[{"name": "evil", "parameters": []}])),
    ("guest hooks", "CreateSandboxRequest", create_sandbox(guest_hook_path="/usr/share/oci/hooks")),
    *(
        (f"{kind} hook", "CreateContainerRequest", create_container(["sh"], hooks=hooks(**{kind: HOOK})))
        for kind in hooks()
    ),
    (
        "device rule",
        "CreateContainerRequest",
        create_container(["sh"], device_rules=[DEVICE_RULE]),
    ),
    ("other diagnostics", "GetDiagnosticDataRequest", {"log_type": "kernel_log", "container_id": CONTAINER}),
    ("loopback renamed", "UpdateInterfaceRequest", update_interface(name="lo")),
    ("loopback's address", "UpdateInterfaceRequest", update_interface(address="00:00:00:00:00:00")),
    ("loopback's address, short", "UpdateInterfaceRequest", update_interface(address="0:0:0:0:0:0")),
    ("loopback's address, signed", "UpdateInterfaceRequest", update_interface(address="+0:0:00:0:0:0")),
    ("no interface", "UpdateInterfaceRequest", {"interface": None}),
    ("route over loopback", "UpdateRoutesRequest", update_routes({}, {"device": "lo"})),
    ("route from 127.0.0.1", "UpdateRoutesRequest", update_routes({}, {"source": "127.0.0.1"})),
    ("route from ::1", "UpdateRoutesRequest", update_routes({}, {"source": "::1"})),
    ("route from 0:0:0:0:0:0:0:1", "UpdateRoutesRequest", update_routes({}, {"source": "0:0:0:0:0:0:0:1"})),
    ("neighbour on loopback", "AddARPNeighborsRequest", add_neighbors(device="lo")),
    ("neighbour 127.0.0.1", "AddARPNeighborsRequest", add_neighbors(address="127.0.0.1")),
]

# ---- The tests


def expect(name, preset, request, content, want):
    @test(f"{preset}: {name} is {want}")
    def _():
        for version in VERSIONS:
            equal(ask(preset, version, request, content), want, f"in Rego {version} the answer to {request}")


for preset, letter in PRESETS.items():
    for version in VERSIONS:

        @test(f"{preset} is Rego {version}")
        def _(preset=preset, version=version):
            equal(load(preset, version).get_packages(), ["data.agent_policy"], "the package")

    @test(f"{preset} decides on each request of the agent once, and on nothing else")
    def _(preset=preset):
        names = re.findall(r"^default +(\w+)", (FOLDER / preset).read_text(), re.MULTILINE)
        equal(sorted(names), sorted(REQUESTS), "the list of rules with a default")

    @test(f"{preset} calls only functions that the agent's engine is built with")
    def _(preset=preset):  # features of regorus in src/agent/policy/Cargo.toml: regex, base64, base64url
        code = re.sub(r"#.*|\"(\\.|[^\"\\])*\"", "", (FOLDER / preset).read_text())
        others = set(re.findall(r"[\w.]+(?=\()", code)) - {"regex.match", "startswith"}
        equal(others, set(), "the set of other functions")

    @test(f"{preset} does not name AllowRequestsFailingPolicy, which would allow all")
    def _(preset=preset):
        equal("AllowRequestsFailingPolicy" in (FOLDER / preset).read_text(), False, "that it does")

    for request in ("AllowRequestsFailingPolicy", "PullImageRequest", "NewRequest"):
        expect(request, preset, request, {}, "undefined")
    for request, (allowed_by, content) in REQUESTS.items():
        expect(request, preset, request, content, "allowed" if letter in allowed_by else "refused")
    for step, (request, content) in enumerate(LIFE, 1):
        expect(f"step {step} of a TaskRun's life, {request},", preset, request, content, "allowed")

for attack, request, content in ATTACKS:
    expect(attack, "strict.rego", request, content, "refused")

main()
