// What the doctor's files share in reading objects: borrowed parts of them, "" or NULL where there are none. PURE
#ifndef COCO_CLI_DOCTOR_PRIVATE_H
#define COCO_CLI_DOCTOR_PRIVATE_H

#include <jansson.h>
#include <string.h>

#include "common/kube/resource.h"
#include "common/names.h"

// The policy that refuses new pods, and what it takes where a class that is confidential isn't known to it.
#define POD_POLICY "coco-pipelines"
#define CLASSES_VARIABLE "runtimeClasses"
#define ADD_CLASS                                                                                                   \
	"if its VMs are confidential, add it to variable " CLASSES_VARIABLE " of ValidatingAdmissionPolicy " POD_POLICY \
	" (Helm: admissionPolicy.runtimeClasses); if not, take it out of the profile"

static inline const char *text(const json_t *object, const char *key)
{
	const char *z = json_string_value(json_object_get(object, key));
	return z != NULL ? z : "";
}

static inline const json_t *spec_of(const json_t *object)
{
	return json_object_get(object, "spec");
}

static inline const json_t *find_named(const json_t *objects, const char *name)
{
	size_t i;
	const json_t *o;
	json_array_foreach (objects, i, o)
		if (strcmp(kube_name(o), name) == 0)
			return o;
	return NULL;
}

// The RuntimeClass of a profile's pods that name none themselves.
static inline const char *class_of(const json_t *profile)
{
	const char *name = text(spec_of(profile), "runtimeClassName");
	return name[0] != '\0' ? name : DEFAULT_RUNTIME_CLASS;
}

#endif
