# Strict: a Tekton TaskRun still runs, with results, logs and Secrets, and the host can do as little else as possible.
# The agent asks data.agent_policy.<Request> before it serves one, and also refuses a request named nowhere here.
# What is limited rests on Kata Containers 4.1: what its Go runtime and runtime-rs send, and what genpolicy, its policy
# generator, refuses by default. This text is measured (initdata): every byte counts, comments too.
# It does not say which containers run: the host chooses their images, arguments and mounts.
package agent_policy

import future.keywords.if

# Start and end of the VM and its containers.
default DestroySandboxRequest := true
default GuestDetailsRequest := true
default StartContainerRequest := true
default SignalProcessRequest := true
default WaitProcessRequest := true
default RemoveContainerRequest := true

# The Go runtime sends it whenever a container stops, without virtiofs too, and a refusal fails the stop.
default RemoveStaleVirtiofsShareMountsRequest := true

# Guest hooks and kernel modules run code outside of any container. No confidential configuration has one.
# (What must be absent has a rule of its own: the agent's engine takes "not x[_]" as false even where x is empty.)
default CreateSandboxRequest := false
CreateSandboxRequest if {
	input.guest_hook_path == ""
	not kernel_module
}
kernel_module if input.kernel_modules[_]

# The same for OCI hooks; device rules would open devices of the guest to a container. Both runtimes clear the rules,
# the Go runtime the hooks too; runtime-rs passes on startContainer hooks, if the host has any.
default CreateContainerRequest := false
CreateContainerRequest if {
	not hook
	not device_rule
}
hook if input.OCI.Hooks[_][_]
device_rule if input.OCI.Linux.Resources.Devices[_]

# Both runtimes copy to <container id or "sandbox">-<random>-<name> in this folder (fs_share_linux.go,
# share_fs_volume.rs); a container's own files are below <container id>. Names such as "..data" are Kubernetes' own.
default CopyFileRequest := false
CopyFileRequest if {
	regex.match("^/run/kata-containers/shared/containers/[0-9a-z]+-[0-9a-f]+-", input.path)
	not regex.match("/[.][.](/|$)", input.path)
}

# Tekton's results are the containers' termination messages; logs, and results from sidecar logs, are streams.
default GetDiagnosticDataRequest := false
GetDiagnosticDataRequest if input.log_type == "termination_log"
default ReadStreamRequest := true

# The pod's network, but never loopback (found by its name or its zero hwAddr), where the guest's components serve keys
# and tokens to the containers.
default UpdateInterfaceRequest := false
UpdateInterfaceRequest if {
	input.interface.name != "lo"
	not regex.match("^[0:+]+$", input.interface.hwAddr)
}
default UpdateRoutesRequest := false
UpdateRoutesRequest if not loopback_route
loopback_route if input.routes.Routes[_].device == "lo"
loopback_route if regex.match("^(127[.]|[0:]*:0*1$)", input.routes.Routes[_].source)
default AddARPNeighborsRequest := false
AddARPNeighborsRequest if not loopback_neighbor
loopback_neighbor if input.neighbors.ARPNeighbors[_].device == "lo"
loopback_neighbor if startswith(input.neighbors.ARPNeighbors[_].toIPAddress.address, "127.")

# What kubelet and runtime watch.
default GetOOMEventRequest := true
default StatsContainerRequest := true

# A way in: kubectl exec (hence also exec probes and hooks), attach -i, a resized terminal. A step reads no stdin.
default ExecProcessRequest := false
default WriteStreamRequest := false
default TtyWinResizeRequest := false
default CloseStdinRequest := false

# The host must not replace the policy that was measured.
default SetPolicyRequest := false

# A VM of static size (static_sandbox_resource_mgmt) never grows, and no runtime then sends these.
default MemHotplugByProbeRequest := false
default OnlineCPUMemRequest := false
default UpdateEphemeralMountsRequest := false

# Only for VMs that are restored from a template, which a confidential one is not.
default ReseedRandomDevRequest := false
default SetGuestDateTimeRequest := false

# In-place resize and the CPU manager's changes are lost; the pod runs on.
default UpdateContainerRequest := false

# Nothing in a TaskRun asks for these. Swap would write the guest's memory to a disk of the host.
default AddSwapRequest := false
default AddSwapPathRequest := false
default GetIPTablesRequest := false
default SetIPTablesRequest := false
default GetMetricsRequest := false
default ListInterfacesRequest := false
default ListRoutesRequest := false
default MemAgentCompactConfig := false
default MemAgentMemcgConfig := false
default PauseContainerRequest := false
default ResumeContainerRequest := false
default ResizeVolumeRequest := false
default VolumeStatsRequest := false
