#include "cli/cluster.h"

#include "common/catalog_lookup.h"
#include "common/names.h"

int cluster_open(const struct cluster_args *args, struct kube_session *s, struct error *err)
{
	return kube_session_open(s, args->kubeconfig, args->context, "cocopipe", false, err);
}

json_t *cluster_pod(const struct kube_session *s, const char *ns, const char *name, struct error *err)
{
	json_t *pod = NULL;
	return kube_get(s->client, &KUBE_PODS, ns, name, &pod, err) < 0 ? NULL : pod;
}

struct catalog *cluster_catalog(const struct kube_session *s, const struct review *review, const char *system_ns,
								catalog_problem_fn problem, struct error *err)
{
	struct catalog *none = catalog_build(NULL, 0, system_ns, NULL, problem, NULL);
	struct catalog *found = NULL;
	int rc = catalog_lookup(s->client, none, review_namespace(review),
							key_values_get(&review->object.annotations, ANNOTATION_PROFILE), &found, err);
	catalog_unref(none);
	return rc < 0 ? NULL : found;
}
