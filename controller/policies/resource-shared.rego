# What all resource policies have in common. It follows after a profile's own part, without this head.
package policy

import rego.v1

# ---- Who gets a resource
#
# Trustee asks data.policy.allow once for each request of a guest whose token it has verified.
#   data   plugin: "resource"; resource-path: [repository, type, tag]
#   input  the token's claims: submods, of which cpu0, gpu0, ... each have an appraisal
# An admin's requests don't come here. Other plugins than "resource" are for nobody.
# The same text serves all versions of Trustee.

default allow := false

allow if {
	resource
	general
	count(named) == 0
}

allow if {
	resource
	general
	shows_digest
}

# The resource's path; undefined where the request is for no resource.
resource := concat("/", path) if {
	data.plugin == "resource"
	path := data["resource-path"]
	is_array(path)
	count(path) == 3
	every segment in path {
		is_string(segment)
		regex.match(`^[A-Za-z0-9_-][A-Za-z0-9_.-]*$`, segment)
	}
}

# ---- What the token says

appraisals := input.submods if is_object(input.submods)

# The guest itself. There is exactly one; with more, none would be known to be the one that asks.
cpu := appraisals[names[0]] if {
	names := [name | some name, _ in appraisals; startswith(name, "cpu")]
	count(names) == 1
}

evidence := cpu["ear.veraison.annotated-evidence"]

affirming(appraisal) if {
	appraisal["ear.status"] == "affirming"
	claims := appraisal["ear.veraison.annotated-evidence"]
	is_object(claims)
	not has_sample(claims)
}

has_sample(claims) if {
	some name in object.keys(claims)
	name in {"sample", "sampledevice"}
}

# ---- Bindings: which initdata a resource is for
#
# "repository/type/tag", "repository/type/" or "repository/" leads to the digests, as each TEE's evidence shows them. The
# most specific one counts. A resource that is named goes to nobody else; for others the profile alone decides.

# The most specific name first.
named := [name |
	[repository, type, _] := split(resource, "/")
	some name in [resource, concat("/", [repository, type, ""]), concat("/", [repository, ""])]
	bindings[name]
]

binding := bindings[named[0]]

# A form counts for its own TEE only: 32 bytes of a host's choice in one register are not a digest in another.
shows_digest if {
	is_string(evidence.init_data)
	tees := [tee | some tee in bindable; evidence[tee]]
	count(tees) == 1
	evidence.init_data in binding[tees[0]]
}

bindable := {"snp", "tdx", "az-snp-vtpm", "az-tdx-vtpm", "cca", "sample"}

bindings := {}
