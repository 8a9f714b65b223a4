#include "controller/profile_status.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/json_made.h"
#include "common/mem.h"
#include "common/names.h"

#define READY "Ready"

static void set_hex(json_t *object, const char *key, const struct digest *d)
{
	struct buf hex = BUF_INIT(2 * DIGEST_MAX + 1);
	hex_encode(d->v, d->n, &hex);
	json_put(object, key, json_string(buf_z(&hex)));
	buf_release(&hex);
}

// NULL where the initdata is made from the profile alone.
static json_t *config_map_source(const struct profile *p)
{
	const struct profile_spec *s = &p->spec;
	if (s->initdata.config_map.given)
		return json_made(json_pack("{s:s, s:s, s:s}", "namespace", p->ns, "name", s->initdata.config_map.name, "key",
								   s->initdata.config_map.key));
	if (!s->initdata.trustee_given)
		return NULL;
	const char *ns = s->initdata.trustee.ns != NULL ? s->initdata.trustee.ns : DEFAULT_TRUSTEE_NAMESPACE;
	CLEANUP_FREE
	char *name = xasprintf("%s%s", TRUSTEE_ENDPOINT_PREFIX, s->initdata.trustee.name);
	return json_made(json_pack("{s:s, s:s, s:s}", "namespace", ns, "name", name, "key", "url"));
}

static json_t *initdata_status(const struct profile *p)
{
	const struct initdata_digests *d = &p->digests;
	json_t *v = json_made(json_pack("{s:s, s:s, s:I}", "digest", p->digest, "algorithm", d->algorithm,
									"annotationBytes", (json_int_t)p->annotation_n));
	set_hex(v, "snpHostData", &d->snp_host_data);
	set_hex(v, "tdxMrConfigId", &d->tdx_mr_config_id);
	if (d->has_azure_pcr8)
		set_hex(v, "azurePcr8", &d->azure_pcr8);
	json_t *source = config_map_source(p);
	if (source != NULL)
		json_put(v, "configMap", source);
	return v;
}

static const char *reason_of(const struct catalog_profile *e)
{
	if (e->problem == NULL)
		return "Compiled";
	return e->problem_code == ENOENT ? "ConfigMapMissing" : e->problem_code == ENXIO ? "TrusteeUnknown" : "Invalid";
}

// New.
static char *message_of(const struct catalog_profile *e)
{
	if (e->problem == NULL && e->profile->caution != NULL)
		return xasprintf("Pods can use the profile, but its initdata leaves the guest open: %s.", e->profile->caution);
	if (e->problem == NULL)
		return xstrdup("Pods can use the profile.");
	if (e->profile == NULL)
		return xasprintf("%s. Pods that use the profile are denied until then.", e->problem);
	return xasprintf("%s. Generation %lld stays in use until then.", e->problem, (long long)e->profile->generation);
}

// Borrowed; NULL where the object has none.
static const json_t *ready_of(const json_t *status)
{
	const json_t *conditions = json_object_get(status, "conditions");
	for (size_t i = 0; i < json_array_size(conditions); i++) {
		const json_t *c = json_array_get(conditions, i);
		const char *type = json_string_value(json_object_get(c, "type"));
		if (type != NULL && strcmp(type, READY) == 0)
			return c;
	}
	return NULL;
}

static json_t *ready(const struct catalog_profile *e, const json_t *old, const char *now)
{
	CLEANUP_FREE
	char *message = message_of(e);
	const char *status = e->problem == NULL ? "True" : "False";
	const char *was = json_string_value(json_object_get(old, "status"));
	const char *since = json_string_value(json_object_get(old, "lastTransitionTime"));
	bool same = was != NULL && since != NULL && strcmp(was, status) == 0;
	return json_made(json_pack("{s:s, s:s, s:I, s:s, s:s, s:s}", "type", READY, "status", status, "observedGeneration",
							   (json_int_t)e->generation, "lastTransitionTime", same ? since : now, "reason",
							   reason_of(e), "message", message));
}

json_t *profile_status(const struct catalog_profile *entry, const json_t *object, const char *now)
{
	const json_t *old = json_object_get(object, "status");
	const json_t *old_ready = ready_of(old);
	json_t *condition = ready(entry, old_ready, now);
	json_t *initdata = entry->profile != NULL ? initdata_status(entry->profile) : NULL;
	json_t *generation = json_made(json_integer(entry->generation));
	// Two NULLs are no equals to jansson.
	const json_t *old_initdata = json_object_get(old, "initdata");
	bool same_initdata = initdata == NULL ? old_initdata == NULL : json_equal(initdata, old_initdata) != 0;
	bool same = same_initdata && json_equal(condition, old_ready) != 0 &&
				json_equal(generation, json_object_get(old, "observedGeneration")) != 0;
	json_t *status = json_made(json_pack("{s:o, s:[o], s:o*}", "observedGeneration", generation, "conditions",
										 condition, "initdata", initdata));
	if (!same)
		return status;
	json_decref(status);
	return NULL;
}
