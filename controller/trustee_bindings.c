#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "controller/trustee_parts.h"
#include "controller/trustee_policy.h"

// Bindings as the policy has them: one for each path of each of the spec's.
struct bound {
	struct policy_binding *v;
	size_t n;
	struct initdata_digests *digests[TRUSTEE_BINDINGS_MAX]; // new, of each of the spec's
	size_t ndigests[TRUSTEE_BINDINGS_MAX];
};

static void bound_release(struct bound *b)
{
	for (size_t i = 0; i < b->n; i++)
		free((char *)(uintptr_t)b->v[i].path);
	free(b->v);
	for (size_t i = 0; i < TRUSTEE_BINDINGS_MAX; i++)
		free(b->digests[i]);
}

static void remark_profile(struct parts *p, size_t i, int code, const struct error *why)
{
	struct remarks *remarks = &p->out->remarks;
	if (code == -EAGAIN) {
		p->hold = true;
		remarks_add(remarks, REMARK_NOTE, ABOUT_SPEC, "WaitingForProfile",
					"spec.bindings[%zu].profileRef: %s. Until then everything stays as it is", i, why->msg);
		return;
	}
	remarks_add(remarks, REMARK_WARNING, ABOUT_SPEC, code == -ENOENT ? "ProfileNotFound" : "ProfileInvalid",
				"spec.bindings[%zu].profileRef: %s. Until then nobody gets the resources that are bound to it alone", i,
				why->msg);
}

// A profile that isn't there, or never was good, has no digest: nobody gets what is bound to it.
static void read_digests(struct parts *p, size_t i, struct bound *b)
{
	const struct trustee_binding *from = &p->in->spec->bindings[i];
	size_t n = from->profile_given ? 1 : json_array_size(from->digests);
	struct initdata_digests *v = xcalloc(n, sizeof(*v));
	struct error why;
	b->digests[i] = v;
	b->ndigests[i] = n;
	if (from->profile_given) {
		const char *ns = from->profile.ns != NULL ? from->profile.ns : kube_namespace(p->in->object);
		int rc = p->in->profile(p->in->profile_ctx, ns, from->profile.name, v, &why);
		if (rc < 0) {
			b->ndigests[i] = 0;
			remark_profile(p, i, rc, &why);
		}
		return;
	}
	for (size_t j = 0; j < n; j++)
		if (initdata_digests_parse(json_string_value(json_array_get(from->digests, j)), &v[j], &why) < 0)
			abort(); // the decoder takes no others
}

// "repository" and "repository/type" stand for all below them.
static char *path_of(const char *resource)
{
	const char *slash = strchr(resource, '/');
	bool whole = slash != NULL && strchr(slash + 1, '/') != NULL;
	return xasprintf("%s%s", resource, whole ? "" : "/");
}

static void collect(struct parts *p, struct bound *b)
{
	const struct trustee_spec *spec = p->in->spec;
	size_t paths = 0;
	for (size_t i = 0; i < spec->nbindings; i++)
		paths += json_array_size(spec->bindings[i].resources);
	b->v = xcalloc(paths, sizeof(*b->v));
	for (size_t i = 0; i < spec->nbindings; i++) {
		const json_t *resources = spec->bindings[i].resources;
		read_digests(p, i, b);
		for (size_t j = 0; j < json_array_size(resources); j++)
			b->v[b->n++] = (struct policy_binding){path_of(json_string_value(json_array_get(resources, j))),
												   b->digests[i], b->ndigests[i]};
	}
}

void parts_bind(struct parts *p)
{
	const struct trustee_spec *spec = p->in->spec;
	struct bound b CLEANUP(bound_release) = {0};
	struct error err;
	enum trustee_resource_policy policy = spec->ibm_se_given                    ? RESOURCE_IBM_SE
										  : spec->profile == TRUSTEE_RESTRICTED ? RESOURCE_RESTRICTIVE
																				: RESOURCE_PERMISSIVE;
	collect(p, &b);
	// The last policy may be that of another profile: nothing else goes on without it either.
	p->policy_ok = trustee_policy_resource(policy, b.v, b.n, &p->policy, &err) == 0;
	p->hold |= !p->policy_ok;
	if (!p->policy_ok)
		remarks_add(&p->out->remarks, REMARK_ERROR, ABOUT_SPEC, "Bindings",
					"spec.bindings can't be made a policy, so everything stays as it is: %s", err.msg);
}
