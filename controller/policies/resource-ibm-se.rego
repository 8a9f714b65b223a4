# IBM Secure Execution: a resource goes to an SE guest whose verdict is "affirming". Which images those are is said by
# the image header that Trustee's verifier compares with (hdr.bin), and by the reference values se_tag, se_image_phkh
# and se_attestation_phkh. SE evidence has no initdata digest in it: there is nothing to bind a resource to.
package policy

import rego.v1

general if {
	evidence.se
	every appraisal in appraisals {
		affirming(appraisal)
	}
}
