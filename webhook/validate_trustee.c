#include <string.h>

#include "common/names.h"
#include "common/trustee.h"
#include "webhook/resource_kind.h"

// ---- What is allowed, but dangerous or useless

static void warn_of_hosting(const struct trustee_hosting *h, struct decision *d)
{
	if (h->vault_given && !is_https(h->vault.address))
		decision_warn(
			d, "spec.vault.address is plain http: Vault's token and every secret travel in the clear, to whoever "
			   "answers in its place; use https, with caSecretRef for a CA of your own");
}

static void warn_of_replicas(int64_t replicas, const char *path, const struct trustee_hosting *h, struct arena *arena,
							 struct decision *d)
{
	if (replicas > 1 && h->sessions.type == SESSIONS_MEMORY)
		decision_warn(d, arena_printf(arena,
									  "%s is %lld, but each pod keeps sessions to itself: a guest whose requests reach "
									  "several pods fails to attest; set spec.sessionStorage to Redis or Postgres",
									  path, (long long)replicas));
}

static void warn_of_profile_type(const struct trustee_spec *s, struct decision *d)
{
	if (s->profile == TRUSTEE_PERMISSIVE)
		decision_warn(
			d, "spec.profileType Permissive releases every resource to whoever asks, genuine guest or not: it is "
			   "for evaluation; Restricted is for production");
	if (s->profile == TRUSTEE_PERMISSIVE && s->nbindings > 0)
		decision_warn(d, "spec.bindings keep nobody out with spec.profileType Permissive, which takes any evidence for "
						 "genuine");
	if (s->profile == TRUSTEE_RESTRICTED && s->allow_downgrade)
		decision_warn(d,
					  "spec.allowDowngrade lets profileType go back to Permissive at any time: remove it until that is "
					  "meant");
}

static void warn_of_tls(const struct trustee_spec *s, struct arena *arena, struct decision *d)
{
	bool set = s->tls.min_version != NULL || s->tls.max_version != NULL || json_array_size(s->tls.ciphers) > 0 ||
			   json_array_size(s->tls.groups) > 0;
	if (set && s->tls.profile != TRUSTEE_TLS_CUSTOM)
		decision_warn(d, arena_printf(arena,
									  "spec.tlsConfig: minVersion, maxVersion, ciphers and groups count with profile "
									  "custom alone, and it is %s",
									  trustee_tls_names[s->tls.profile]));
}

static void warn_of_trustee(const json_t *object, struct arena *arena, struct decision *d)
{
	struct trustee_spec s;
	struct error err;
	if (trustee_decode(object, &s, &err) < 0)
		return;
	warn_of_profile_type(&s, d);
	warn_of_tls(&s, arena, d);
	warn_of_hosting(&s.hosting, d);
	warn_of_replicas(s.replicas, "spec.replicas", &s.hosting, arena, d);
}

static void warn_of_kbs(const json_t *object, struct arena *arena, struct decision *d)
{
	struct kbs_spec s;
	struct error err;
	if (kbs_decode(object, &s, &err) < 0)
		return;
	warn_of_hosting(&s.hosting, d);
	warn_of_replicas(s.replicas, "spec.KbsDeploymentSpec.replicas", &s.hosting, arena, d);
	if ((s.secrets.https_key == NULL) != (s.secrets.https_cert == NULL))
		decision_warn(d,
					  "spec.kbsHttpsKeySecretName and spec.kbsHttpsCertSecretName go together: nothing is rolled out "
					  "with one of them; set both, or none for plain HTTP");
	if (s.hosting.vault_given && json_array_size(s.secret_resources) > 0)
		decision_warn(
			d, "spec.kbsSecretResources are not served with spec.vault, as the KBS reads all resources from Vault "
			   "then");
}

// ---- What is refused

static int check_trustee(json_t *now, const json_t *old, const char *ns, struct error *err)
{
	(void)ns;
	struct trustee_spec s;
	int rc = trustee_decode(now, &s, err);
	return rc < 0 || old == NULL ? rc : trustee_check_downgrade(now, old, err);
}

static int check_kbs(json_t *now, const json_t *old, const char *ns, struct error *err)
{
	(void)old;
	(void)ns;
	struct kbs_spec s;
	return kbs_decode(now, &s, err);
}

// An update that keeps its names asks nobody: most of them are the controller's own.
static bool takes_names(const json_t *now, const json_t *old)
{
	return old == NULL || strcmp(trustee_instance(now), trustee_instance(old)) != 0;
}

const struct resource_kind RESOURCE_TRUSTEE_CONFIG = {
	.group = NAME_TRUSTEE_GROUP,
	.resource = "trusteeconfigs",
	.kind = "TrusteeConfig",
	.noun = "TrusteeConfig",
	.valid = "TrusteeValid",
	.invalid = "TrusteeInvalid",
	.check = check_trustee,
	.warn = warn_of_trustee,
	.takes_names = takes_names,
};

const struct resource_kind RESOURCE_KBS_CONFIG = {
	.group = NAME_TRUSTEE_GROUP,
	.resource = "kbsconfigs",
	.kind = "KbsConfig",
	.noun = "KbsConfig",
	.valid = "KbsValid",
	.invalid = "KbsInvalid",
	.check = check_kbs,
	.warn = warn_of_kbs,
	.takes_names = takes_names,
};
