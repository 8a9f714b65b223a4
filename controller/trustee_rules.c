#include "controller/trustee_rules.h"

#include <errno.h>
#include <string.h>

#include "common/kube/resource.h"
#include "common/mem.h"
#include "controller/kbs_render.h"

bool trustee_has_older_rival(const json_t *object, const json_t *others, struct remarks *remarks)
{
	const json_t *rival = trustee_rival(object, others);
	if (rival == NULL || !trustee_is_older(rival, object))
		return false;
	const char *instance = trustee_instance(object);
	const char *kind = json_string_value(json_object_get(rival, "kind"));
	remarks_add(remarks, REMARK_ERROR, ABOUT_SPEC, "NameTaken",
				"%s \"%s\" of this namespace is older and has the names %s%strustee-deployment and so on; set "
				"spec.instanceName to another name, or delete one of the two",
				kind != NULL ? kind : "", kube_name(rival), instance, instance[0] != '\0' ? "-" : "");
	return true;
}

char *trustee_expected_host(const struct trustee_spec *spec, const char *url, bool exposed, bool *ret_is_service)
{
	const char *asked = spec->hosting.exposure.host;
	*ret_is_service = asked == NULL && !exposed;
	if (asked != NULL)
		return xstrdup(asked);
	const char *host = url != NULL ? strstr(url, "://") : NULL;
	// With None, guests may go by something that nobody here knows.
	if (host == NULL || (!exposed && spec->hosting.exposure.type == EXPOSE_NONE))
		return NULL;
	host += strlen("://");
	if (*host == '[') // an IPv6 address
		return xstrndup((struct str){host + 1, strcspn(host + 1, "]")});
	return xstrndup((struct str){host, strcspn(host, ":/")});
}

bool trustee_can_publish(const struct kbs_spec *kbs, const char *url, const char *ca)
{
	return url != NULL && (ca != NULL || !kbs_speaks_https(kbs));
}

int trustee_profile_digests(const struct catalog *catalog, const char *ns, const char *name,
							struct initdata_digests *ret, struct error *err)
{
	const struct catalog_profile *entry =
		catalog != NULL ? catalog_profile(catalog, str_from(ns), str_from(name)) : NULL;
	if (catalog == NULL || (entry != NULL && entry->profile == NULL && entry->problem_code == EAGAIN))
		return error_set(err, EAGAIN, "ConfidentialProfile %s/%s isn't read yet", ns, name);
	if (entry == NULL)
		return error_set(err, ENOENT, "ConfidentialProfile %s/%s doesn't exist; create it, or name another one", ns,
						 name);
	if (entry->profile == NULL)
		return error_set(err, EINVAL, "ConfidentialProfile %s/%s can't be used: %s", ns, name, entry->problem);
	*ret = entry->profile->digests;
	return 0;
}
