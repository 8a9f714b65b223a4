# What CPU evidence is worth. Trustee's attestation service asks once for each CPU; its verifier has checked signatures,
# certificates and freshness before. Policy id: default_cpu.
#
# Answers are AR4SI trust claims: 0 says nothing, 2 to 31 is affirming, 32 to 95 a warning, from 96 contraindicated. The
# worst of them is the status of the CPU in the token.
#
# A claim is affirming only because a value in the evidence was compared with one that the admin gave: a reference
# value. One that isn't given approves of nothing, nor does a claim that is missing, or of another type. The exceptions
# are flags that must say "no debugging", and IBM SE, whose verifier compares with the image header that it was given.
# TEEs that are not named here (CSV, SGX, a bare TPM) are contraindicated, and so is evidence of two TEEs at once.
#
# Some versions of Trustee ask for trust_claims, some for its eight rules one by one, which is why these have names of
# their own.
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

# 97: not recognized, but should be. 33: executables that are not recognized. 36: the configuration can't be seen.
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

# Of a value that need not be given, but counts where it is.
refused(name, value) if {
	list := values(name)
	not value in list
}

# ---- Evidence

tees := {"snp", "tdx", "az-snp-vtpm", "az-tdx-vtpm", "se", "cca", "sample"}

tee := names[0] if {
	names := [name | some name in tees; is_object(input[name])]
	count(names) == 1
}

claims := input[tee]

# Azure's claims are texts throughout; those of some versions of Trustee are numbers or texts.
off(flag) if flag in {false, 0, "false", "0"}

on(flag) if flag in {true, 1, "true", "1"}

# ---- AMD SEV-SNP, also behind Azure's vTPM

executables := 3 if {
	tee == "snp"
	approved("snp_launch_measurement", claims.measurement)
}

executables := 3 if {
	tee == "az-snp-vtpm"
	approved("measurement", claims.measurement)
	azure_boot("snp")
}

hardware := 2 if {
	names := firmware[tee]
	every name, claim in names {
		approved(name, claims[claim])
	}
}

firmware := {
	"snp": {
		"snp_bootloader": "reported_tcb_bootloader",
		"snp_microcode": "reported_tcb_microcode",
		"snp_snp_svn": "reported_tcb_snp",
		"snp_tee_svn": "reported_tcb_tee",
	},
	"az-snp-vtpm": {
		"tcb_bootloader": "reported_tcb_bootloader",
		"tcb_microcode": "reported_tcb_microcode",
		"tcb_snp": "reported_tcb_snp",
		"tcb_tee": "reported_tcb_tee",
	},
}

settings := {
	"snp": {
		"snp_smt_enabled": "platform_smt_enabled",
		"snp_tsme_enabled": "platform_tsme_enabled",
		"snp_guest_abi_major": "policy_abi_major",
		"snp_guest_abi_minor": "policy_abi_minor",
		"snp_single_socket": "policy_single_socket",
		"snp_smt_allowed": "policy_smt_allowed",
	},
	"az-snp-vtpm": {
		"smt_enabled": "platform_smt_enabled",
		"tsme_enabled": "platform_tsme_enabled",
		"abi_major": "policy_abi_major",
		"abi_minor": "policy_abi_minor",
		"single_socket": "policy_single_socket",
		"smt_allowed": "policy_smt_allowed",
	},
}

unapproved := {name |
	some name, claim in settings[tee]
	not approved(name, claims[claim])
}

settings_differ if {
	some name in unapproved
	values(name)
}

# 2: all is as approved. 3: nothing bad is known. 32: differs from what was given. 96: the host can read the guest.
configuration := 2 if {
	snp_closed
	count(unapproved) == 0
}

else := 32 if {
	snp_closed
	settings_differ
}

else := 3 if snp_closed

else := 96 if {
	settings[tee]
	on(claims.policy_debug_allowed)
}

else := 96 if {
	settings[tee]
	on(claims.policy_migrate_ma)
}

snp_closed if {
	settings[tee]
	off(claims.policy_debug_allowed)
	off(claims.policy_migrate_ma)
}

# ---- Intel TDX, also behind Azure's vTPM

executables := 3 if {
	tee == "tdx"
	approved("rtmr_1", claims.quote.body.rtmr_1)
	approved("rtmr_2", claims.quote.body.rtmr_2)
}

executables := 3 if {
	tee == "az-tdx-vtpm"
	azure_boot("tdx")
}

# 2: genuine, and patched. 32: genuine, with known weaknesses that settings or software make up for. 96: out of date.
hardware := 2 if {
	tdx_genuine
	claims.tcb_status == "UpToDate"
	collateral_valid
}

else := 32 if {
	tdx_genuine
	claims.tcb_status in {
		"UpToDate",
		"SWHardeningNeeded",
		"ConfigurationNeeded",
		"ConfigurationAndSWHardeningNeeded",
		"TDRelaunchAdvised",
		"TDRelaunchAdvisedConfigurationNeeded",
	}
}

else := 96 if {
	tdx_genuine
	claims.tcb_status in {"OutOfDate", "OutOfDateConfigurationNeeded"}
}

# A TDX quote by Intel's quoting enclave, of a guest with an approved firmware.
tdx_genuine if {
	tee in {"tdx", "az-tdx-vtpm"}
	claims.quote.header.tee_type == "81000000"
	claims.quote.header.vendor_id == "939a7233f79c4ca9940a0db3957f0607"
	approved("mr_td", claims.quote.body.mr_td)
}

# "0": none of Intel's statements that the verdict rests on has expired.
collateral_valid if claims.collateral_expiration_status == "0"

configuration := 2 if {
	tee in {"tdx", "az-tdx-vtpm"}
	off(claims.td_attributes.debug)
	approved("xfam", claims.quote.body.xfam)
}

else := 96 if {
	tee in {"tdx", "az-tdx-vtpm"}
	on(claims.td_attributes.debug)
}

# ---- Azure's vTPM: PCR 11 is the unified kernel image; the others are optional. PCR 8 is the initdata.

azure_boot(kind) if {
	approved(concat("", [kind, "_pcr11"]), claims.tpm.pcr11)
	every register in ["pcr03", "pcr08", "pcr09", "pcr12"] {
		not refused(concat("_", [kind, register]), object.get(claims.tpm, register, null))
	}
}

# ---- IBM Secure Execution: genuine by the verifier, which compares with the image header that it was given

se_recognized if {
	tee == "se"
	every name, claim in {"se_tag": "tag", "se_image_phkh": "image_phkh", "se_attestation_phkh": "attestation_phkh"} {
		is_string(claims[claim])
		claims[claim] != ""
		not refused(name, claims[claim])
	}
}

executables := 3 if se_recognized

hardware := 2 if se_recognized

configuration := 2 if se_recognized

# ---- Arm CCA. The realm's initial measurement is made over its parameters and its first memory.

realm := claims.realm["cca-realm-initial-measurement"] if tee == "cca"

executables := 3 if approved("cca_realm_initial_measurement", realm)

configuration := 2 if approved("cca_realm_initial_measurement", realm)

hardware := 2 if {
	tee == "cca"
	approved("cca_platform_implementation_id", claims.platform["cca-platform-implementation-id"])
}

# ---- Sample: for evaluation. Anybody can make this evidence up.

executables := 3 if {
	tee == "sample"
	approved("launch_digest", claims.launch_digest)
}

hardware := 2 if {
	tee == "sample"
	approved("svn", claims.svn)
	approved("major_version", claims.platform_version.major)
	is_number(claims.platform_version.minor)
	some minimum in values("minimum_minor_version")
	is_number(minimum)
	claims.platform_version.minor >= minimum
}

configuration := 2 if {
	tee == "sample"
	off(claims.debug)
}
