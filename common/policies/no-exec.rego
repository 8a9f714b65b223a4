# NoExec: a Tekton TaskRun runs, with results, logs, Secrets and sidecars; nobody reaches into it from the host.
# The agent asks data.agent_policy.<Request> before it serves one, and also refuses a request named nowhere here.
# Names: Kata Containers 4.1, agent.proto. This text is measured (initdata): every byte counts, comments too.
# It does not say which containers run: the host chooses their images, arguments and mounts.
package agent_policy

# Start and end of the VM and its containers.
default CreateSandboxRequest := true
default DestroySandboxRequest := true
default GuestDetailsRequest := true
default CreateContainerRequest := true
default StartContainerRequest := true
default SignalProcessRequest := true
default WaitProcessRequest := true
default RemoveContainerRequest := true

# The Go runtime sends it whenever a container stops, without virtiofs too, and a refusal fails the stop.
default RemoveStaleVirtiofsShareMountsRequest := true

# Secrets, ConfigMaps, tokens, and the downwardAPI file that Tekton's first step waits for.
default CopyFileRequest := true

# Tekton's results are the containers' termination messages; kubectl logs and results from sidecar logs are streams.
default GetDiagnosticDataRequest := true
default ReadStreamRequest := true

# The pod's network.
default UpdateInterfaceRequest := true
default UpdateRoutesRequest := true
default AddARPNeighborsRequest := true
default ListInterfacesRequest := true
default ListRoutesRequest := true

# What kubelet and runtime watch, and what they set while a pod runs.
default GetMetricsRequest := true
default GetOOMEventRequest := true
default StatsContainerRequest := true
default UpdateContainerRequest := true
default OnlineCPUMemRequest := true
default UpdateEphemeralMountsRequest := true
default ReseedRandomDevRequest := true
default SetGuestDateTimeRequest := true

# A way in: kubectl exec (hence also exec probes and hooks), attach -i, a resized terminal. A step reads no stdin;
# closing it lets nothing in.
default ExecProcessRequest := false
default WriteStreamRequest := false
default TtyWinResizeRequest := false
default CloseStdinRequest := true

# The host must not replace the policy that was measured.
default SetPolicyRequest := false

# Nothing in a TaskRun asks for these. Swap would write the guest's memory to a disk of the host.
default AddSwapRequest := false
default AddSwapPathRequest := false
default GetIPTablesRequest := false
default SetIPTablesRequest := false
default MemAgentCompactConfig := false
default MemAgentMemcgConfig := false
default MemHotplugByProbeRequest := false
default PauseContainerRequest := false
default ResumeContainerRequest := false
default ResizeVolumeRequest := false
default VolumeStatsRequest := false
