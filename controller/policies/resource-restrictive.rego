# Restrictive: a resource goes to a guest only where the verdict on each of its parts (CPU and devices) is "affirming".
# The sample TEE, whose evidence anybody can make up, gets nothing.
package policy

import rego.v1

general if {
	cpu
	every appraisal in appraisals {
		affirming(appraisal)
	}
}
