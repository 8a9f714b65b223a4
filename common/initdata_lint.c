#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/agent_policy.h"
#include "common/initdata.h"
#include "common/mem.h"
#include "common/toml.h"

#define ERROR(f, where, ...) findings_add((f), FINDING_ERROR, (where), __VA_ARGS__)
#define WARN(f, where, ...) findings_add((f), FINDING_WARNING, (where), __VA_ARGS__)

// Keys that the guest's components read (guest-components: attestation-agent/src/config, confidential-data-hub/hub/
// src/config, image-rs/src/config.rs). Their structs take unknown keys silently: a typo is a setting that isn't there.
struct known {
	const char *name;
	const struct known *below; // NULL: a value, or a table whose keys aren't ours to judge
};

static const struct known aa_kbs[] = {{"url", NULL}, {"cert", NULL}, {"tee_key_algorithm", NULL}, {0}};
static const struct known aa_coco_as[] = {{"url", NULL}, {0}};
static const struct known aa_tokens[] = {{"kbs", aa_kbs}, {"coco_as", aa_coco_as}, {0}};
static const struct known aa_eventlog[] = {{"init_pcr", NULL}, {"enable_eventlog", NULL}, {0}};
static const struct known level_only[] = {{"level", NULL}, {0}};
static const struct known aa_keys[] = {
	{"token_configs", aa_tokens}, {"eventlog_config", aa_eventlog}, {"log", level_only}, {0}};

static const struct known cdh_kbc[] = {{"name", NULL}, {"url", NULL}, {"kbs_cert", NULL}, {0}};
static const struct known cdh_aa[] = {{"aa_socket", NULL}, {0}};
static const struct known cdh_proxy[] = {{"https_proxy", NULL}, {"http_proxy", NULL}, {"no_proxy", NULL}, {0}};
static const struct known cdh_image[] = {{"image_security_policy_uri", NULL},
										 {"image_security_policy", NULL},
										 {"sigstore_config_uri", NULL},
										 {"sigstore_config", NULL},
										 {"authenticated_registry_credentials_uri", NULL},
										 {"registry_configuration_uri", NULL},
										 {"registry_config", NULL},
										 {"max_concurrent_layer_downloads_per_image", NULL},
										 {"image_pull_proxy", cdh_proxy},
										 {"extra_root_certificates", NULL},
										 {"work_dir", NULL},
										 {0}};
static const struct known cdh_keys[] = {{"kbc", cdh_kbc},
										{"socket", NULL},
										{"aa", cdh_aa},
										{"credentials", NULL},
										{"skip_sealed_secret_verification", NULL},
										{"log", level_only},
										{"image", cdh_image},
										{0}};
static const struct known data_keys[] = {{"aa.toml", NULL}, {"cdh.toml", NULL}, {"policy.rego", NULL}, {0}};
static const struct known top_keys[] = {{"version", NULL}, {"algorithm", NULL}, {"data", data_keys}, {0}};

static char *join_known(const struct known *keys)
{
	struct buf all = BUF_INIT(1024);
	for (const struct known *k = keys; k->name != NULL; k++)
		buf_addf(&all, "%s%s", k == keys ? "" : ", ", k->name);
	return buf_take(&all);
}

static void check_keys(const json_t *table, const struct known *keys, const char *where, struct findings *f)
{
	const char *key;
	json_t *v;
	json_object_foreach ((json_t *)(uintptr_t)table, key, v) {
		const struct known *k = keys;
		while (k->name != NULL && strcmp(k->name, key) != 0)
			k++;
		const char *dot = where[0] != '\0' ? "." : "";
		CLEANUP_FREE
		char *path =
			strchr(key, '.') != NULL ? xasprintf("%s%s\"%s\"", where, dot, key) : xasprintf("%s%s%s", where, dot, key);
		if (k->name == NULL) {
			CLEANUP_FREE
			char *all = join_known(keys);
			WARN(f, path, "nothing in the guest reads this key; a typo? Known here: %s", all);
		} else if (k->below != NULL) {
			check_keys(v, k->below, path, f);
		}
	}
}

static const char *get_string(const json_t *table, const char *a, const char *b, const char *c)
{
	const json_t *v = json_object_get(table, a);
	v = b != NULL ? json_object_get(v, b) : v;
	return json_string_value(c != NULL ? json_object_get(v, c) : v);
}

static void lint_url(const char *url, const char *cert, const char *where, struct findings *f)
{
	if (url == NULL) {
		ERROR(f, where, "there is no url of the KBS; set it to https://HOST:PORT");
		return;
	}
	bool https = strncmp(url, "https://", 8) == 0;
	if (!https && strncmp(url, "http://", 7) != 0)
		ERROR(f, where, "\"%s\" is not an http:// or https:// URL", url);
	else if (!https && cert != NULL)
		WARN(f, where, "a certificate is given, but the URL \"%s\" is plain http; drop it or write https", url);
	else if (!https)
		WARN(f, where,
			 "\"%s\" is plain http: the network can see which resources are asked for; use https in production", url);
}

static json_t *parse_inner(const json_t *data, const char *key, struct findings *f)
{
	const char *text = json_string_value(json_object_get(data, key));
	CLEANUP_FREE
	char *where = xasprintf("data.\"%s\"", key);
	if (text == NULL) {
		WARN(f, where, "is missing: the guest then has no %s",
			 strcmp(key, "aa.toml") == 0 ? "attestation" : "secrets and images settings");
		return NULL;
	}
	struct error err;
	json_t *tree = toml_read(str_from(text), &err);
	if (tree == NULL)
		ERROR(f, where, "%s", err.msg);
	return tree;
}

static void lint_kbc_name(const json_t *cdh, struct findings *f)
{
	const char *name = get_string(cdh, "kbc", "name", NULL);
	if (name == NULL)
		ERROR(f, "data.\"cdh.toml\".kbc.name", "is missing; write name = \"cc_kbc\" under [kbc]");
	else if (strcmp(name, "cc_kbc") != 0 && strcmp(name, "offline_fs_kbc") != 0)
		ERROR(f, "data.\"cdh.toml\".kbc.name", "\"%s\" is unknown; cc_kbc and offline_fs_kbc are known", name);
}

static void lint_cdh(const json_t *cdh, struct findings *f)
{
	check_keys(cdh, cdh_keys, "data.\"cdh.toml\"", f);
	lint_kbc_name(cdh, f);
	if (json_is_true(json_object_get(cdh, "skip_sealed_secret_verification")))
		WARN(f, "data.\"cdh.toml\".skip_sealed_secret_verification",
			 "true takes sealed secrets from anyone; drop it and sign them");
	const json_t *image = json_object_get(cdh, "image");
	if (image == NULL)
		WARN(f, "data.\"cdh.toml\".image",
			 "is missing: image settings then come from the kernel command line; write [image]");
	else if (get_string(image, "image_security_policy_uri", NULL, NULL) == NULL &&
			 get_string(image, "image_security_policy", NULL, NULL) == NULL)
		WARN(f, "data.\"cdh.toml\".image.image_security_policy_uri",
			 "is not set: the guest runs any image, signed or not; name a policy, such as "
			 "kbs:///default/security-policy/signed");
}

static void lint_both(const json_t *aa, const json_t *cdh, struct findings *f)
{
	const char *aa_url = get_string(aa, "token_configs", "kbs", "url");
	const char *aa_cert = get_string(aa, "token_configs", "kbs", "cert");
	const char *cdh_url = get_string(cdh, "kbc", "url", NULL);
	const char *cdh_cert = get_string(cdh, "kbc", "kbs_cert", NULL);
	if (json_object_get(json_object_get(aa, "token_configs"), "kbs") != NULL)
		lint_url(aa_url, aa_cert, "data.\"aa.toml\".token_configs.kbs.url", f);
	if (cdh == NULL)
		return;
	const char *kbc = get_string(cdh, "kbc", "name", NULL);
	if (kbc != NULL && strcmp(kbc, "cc_kbc") == 0)
		lint_url(cdh_url, cdh_cert, "data.\"cdh.toml\".kbc.url", f);
	if (aa_url != NULL && cdh_url != NULL && strcmp(aa_url, cdh_url) != 0)
		WARN(f, "data.\"cdh.toml\".kbc.url",
			 "\"%s\" is not the KBS of aa.toml, \"%s\": a token of one is no token of the other", cdh_url, aa_url);
	if ((aa_cert == NULL) != (cdh_cert == NULL))
		WARN(f, aa_cert == NULL ? "data.\"aa.toml\".token_configs.kbs.cert" : "data.\"cdh.toml\".kbc.kbs_cert",
			 "is missing, though the other file has a certificate for the KBS; both need it");
}

static void lint_policy(struct str rego, struct findings *f)
{
	const char *where = "data.\"policy.rego\"";
	if (rego.p == NULL) {
		WARN(f, where, "is missing: the guest image's own policy decides, which allows everything in stock images");
		return;
	}
	if (memmem(rego.p, rego.n, "package agent_policy", strlen("package agent_policy")) == NULL)
		ERROR(f, where, "does not say \"package agent_policy\", which the agent asks");
	static const struct {
		const char *rule;
		const char *what;
	} dangers[] = {
		{"AllowRequestsFailingPolicy", "is true: every request is allowed, whatever the rules say; remove it"},
		{"SetPolicyRequest", "is true: the host can replace this policy; set it to false"},
		{"ExecProcessRequest",
		 "is true: whoever may exec into the pod reads its memory; set it to false in production"},
	};
	for (size_t i = 0; i < sizeof(dangers) / sizeof(dangers[0]); i++)
		if (agent_policy_default(rego, dangers[i].rule) == POLICY_TRUE)
			WARN(f, where, "%s %s", dangers[i].rule, dangers[i].what);
	if (memmem(rego.p, rego.n, "GetDiagnosticDataRequest", strlen("GetDiagnosticDataRequest")) == NULL)
		WARN(f, where,
			 "has no rule GetDiagnosticDataRequest: Tekton's results and termination messages are lost silently");
}

void initdata_lint(struct str toml, struct findings *ret)
{
	struct error err;
	CLEANUP_INITDATA struct initdata i = {0};
	if (initdata_parse(toml, &i, &err) < 0) {
		ERROR(ret, "initdata", "%s", err.msg);
		return;
	}
	check_keys(i.tree, top_keys, "", ret);
	if (strcmp(i.algorithm, "sha256") != 0)
		WARN(ret, "algorithm", "\"%s\" can't be verified on Azure's vTPM; use sha256 there", i.algorithm);
	const json_t *data = json_object_get(i.tree, "data");
	json_t *aa = parse_inner(data, "aa.toml", ret);
	json_t *cdh = parse_inner(data, "cdh.toml", ret);
	if (aa != NULL)
		check_keys(aa, aa_keys, "data.\"aa.toml\"", ret);
	if (cdh != NULL)
		lint_cdh(cdh, ret);
	lint_both(aa, cdh, ret);
	lint_policy(i.policy, ret);
	json_decref(aa);
	json_decref(cdh);
}
