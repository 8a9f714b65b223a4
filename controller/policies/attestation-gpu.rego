# What an NVIDIA GPU's evidence is worth. Trustee's attestation service asks once for each GPU; its verifier has checked
# the report's signature and freshness before. Policy id: default_gpu. The tiers are those of the CPU's policy.
#
# Remote: NVIDIA's service (NRAS) compares the GPU's measurements with those that NVIDIA published; claims version 3.
# Local: Trustee reads the report without asking anybody, and compares nothing. Here the admin's reference values must
# name the versions and the measurements: allowed_measurements is a list of objects such as {"7": "6850b0...", ...}, one
# of which the report must contain. Measurements tell the GPU's settings too.
#
# Trustee before 0.16 has no remote verifier.
package policy

import rego.v1

trust_claims := {
	"instance-identity": instance_identity,
	"configuration": configuration,
	"executables": executables,
	"file-system": file_system,
	"hardware": hardware,
	"runtime-opaque": runtime_opaque,
	"storage-opaque": storage_opaque,
	"sourced-data": sourced_data,
}

default hardware := 97

default executables := 33

default configuration := 36

default instance_identity := 0

default file_system := 0

default runtime_opaque := 0

default storage_opaque := 0

default sourced_data := 0

# ---- Reference values

reference(name) := query_reference_value(name)

# A list, or a single value. Undefined where there is none, which the service answers with null.
values(name) := list if {
	list := reference(name)
	is_array(list)
}

values(name) := [value] if {
	value := reference(name)
	not is_array(value)
	not is_null(value)
}

approved(name, value) if {
	not is_null(value)
	value in values(name)
}

# ---- Evidence

# A report has one of the two forms, never both.
remote := input.nvidia if {
	is_object(input.nvidia)
	input.nvidia["x-nvidia-gpu-attestation-report-parsed"] == true
	not input.nvidia.config
}

local := input.nvidia if {
	is_object(input.nvidia.config)
	is_object(input.nvidia.measurements)
	not input.nvidia["x-nvidia-gpu-attestation-report-parsed"]
}

# ---- Remote

valid_chain(kind) if {
	chain := remote[concat("-", ["x-nvidia-gpu", kind, "cert-chain"])]
	chain["x-nvidia-cert-status"] == "valid"
	chain["x-nvidia-cert-ocsp-status"] == "good"
}

confirmed(kind, facts) if {
	every fact in facts {
		remote[concat("-", ["x-nvidia-gpu", kind, fact])] == true
	}
}

hardware := 2 if {
	valid_chain("attestation-report")
	confirmed("attestation-report", ["cert-chain-fwid-match", "parsed", "signature-verified"])
	remote["x-nvidia-gpu-arch-check"] == true
}

executables := 3 if {
	valid_chain("driver-rim")
	valid_chain("vbios-rim")
	every kind in ["driver-rim", "vbios-rim"] {
		confirmed(kind, ["fetched", "measurements-available", "schema-validated", "signature-verified", "version-match"])
	}
	remote.measres == "success"
}

# 2: versions as approved. 32: other versions than the approved ones. 3: none were given. 96: open to debugging.
configuration := 2 if {
	remote_closed
	approved("allowed_vbios_versions", remote["x-nvidia-gpu-vbios-version"])
	approved("allowed_driver_versions", remote["x-nvidia-gpu-driver-version"])
}

else := 32 if {
	remote_closed
	versions_given
}

else := 3 if remote_closed

else := 96 if remote.secboot == false

else := 96 if remote.dbgstat != "disabled"

remote_closed if {
	remote.secboot == true
	remote.dbgstat == "disabled"
}

versions_given if values("allowed_vbios_versions")

versions_given if values("allowed_driver_versions")

# ---- Local

local_approved if {
	approved("allowed_vbios_versions", local.config.vbios_version)
	approved("allowed_driver_versions", local.config.driver_version)
}

local_measured if {
	local_approved
	some measurements in values("allowed_measurements")
	is_object(measurements)
	count(measurements) > 0
	every index, digest in measurements {
		is_string(digest)
		local.measurements[index] == digest
	}
}

hardware := 2 if {
	local.arch == "Hopper"
	local_approved
}

executables := 3 if local_measured

configuration := 2 if local_measured
