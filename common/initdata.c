#include "common/initdata.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "common/toml.h"

// The one version that Kata's parsers accept (kata-types InitData::validate).
#define VERSION "0.1.0"
#define CDH_SOCKET "unix:///run/confidential-containers/cdh.sock"

const char *const initdata_algorithm_names[] = {"sha256", "sha384", "sha512", NULL};

static void cleanup_json(json_t **v)
{
	json_decref(*v);
}
#define CLEANUP_JSON CLEANUP(cleanup_json)

// Appends a tree as TOML; takes the tree, which may be NULL where building it failed.
static int write_tree(json_t *tree, const char *what, struct buf *out, struct error *err)
{
	CLEANUP_JSON json_t *owned = tree;
	if (owned == NULL)
		return error_set(err, EINVAL, "%s: a value is not UTF-8; give text", what);
	if (toml_write(owned, out, err) < 0)
		return error_prefix(err, "%s", what);
	return 0;
}

static int build_aa(const struct initdata_source *s, struct buf *out, struct error *err)
{
	return write_tree(json_pack("{s:{s:{s:s, s:s*}}}", "token_configs", "kbs", "url", s->kbs_url, "cert", s->kbs_ca),
					  "aa.toml", out, err);
}

static json_t *image_tree(const struct initdata_source *s)
{
	json_t *proxy = NULL;
	if (s->https_proxy != NULL || s->http_proxy != NULL || s->no_proxy != NULL) {
		proxy = json_pack("{s:s*, s:s*, s:s*}", "https_proxy", s->https_proxy, "http_proxy", s->http_proxy, "no_proxy",
						  s->no_proxy);
		if (proxy == NULL)
			return NULL;
	}
	json_t *roots = s->image_extra_root_certificates != NULL && json_array_size(s->image_extra_root_certificates) > 0
						? json_deep_copy(s->image_extra_root_certificates)
						: NULL;
	return json_pack("{s:s*, s:s*, s:o*, s:o*}", "image_security_policy_uri", s->image_security_policy_uri,
					 "authenticated_registry_credentials_uri", s->image_registry_credentials_uri,
					 "extra_root_certificates", roots, "image_pull_proxy", proxy);
}

static int build_cdh(const struct initdata_source *s, struct buf *out, struct error *err)
{
	// [image] is written even when empty: without it CDH takes image settings from the kernel command line.
	json_t *tree = json_pack("{s:s, s:[], s:{s:s, s:s, s:s*}, s:o}", "socket", CDH_SOCKET, "credentials", "kbc", "name",
							 "cc_kbc", "url", s->kbs_url, "kbs_cert", s->kbs_ca, "image", image_tree(s));
	return write_tree(tree, "cdh.toml", out, err);
}

int initdata_build(const struct initdata_source *source, struct buf *toml, struct error *err)
{
	CLEANUP_BUF
	struct buf aa = BUF_INIT(INITDATA_TOML_MAX);
	CLEANUP_BUF
	struct buf cdh = BUF_INIT(INITDATA_TOML_MAX);
	int rc = build_aa(source, &aa, err);
	if (rc == 0)
		rc = build_cdh(source, &cdh, err);
	if (rc < 0)
		return rc;
	json_t *tree = json_pack("{s:s, s:s, s:{s:s%, s:s%, s:s%}}", "version", VERSION, "algorithm",
							 initdata_algorithm_names[source->algorithm], "data", "aa.toml", buf_z(&aa), aa.n,
							 "cdh.toml", buf_z(&cdh), cdh.n, "policy.rego", source->policy.p, source->policy.n);
	rc = write_tree(tree, "initdata", toml, err);
	if (rc == 0 && (!buf_ok(toml) || !buf_ok(&aa) || !buf_ok(&cdh)))
		return error_set(err, EFBIG, "initdata is larger than %zu bytes; shorten the policy or the certificates",
						 INITDATA_TOML_MAX);
	return rc;
}

void initdata_release(struct initdata *i)
{
	json_decref(i->tree);
	*i = (struct initdata){0};
}

static int known_algorithm(const char *name, struct error *err)
{
	for (size_t i = 0; initdata_algorithm_names[i] != NULL; i++)
		if (strcmp(initdata_algorithm_names[i], name) == 0)
			return 0;
	return error_set(err, EINVAL, "algorithm is \"%s\"; the guest knows sha256, sha384 and sha512, written like this",
					 name);
}

static int check_data(const json_t *data, struct initdata *ret, struct error *err)
{
	if (!json_is_object(data))
		return error_set(err, EINVAL, "[data] is missing; it holds aa.toml, cdh.toml and policy.rego");
	for (void *it = json_object_iter((json_t *)(uintptr_t)data); it != NULL;
		 it = json_object_iter_next((json_t *)(uintptr_t)data, it)) {
		const char *key = json_object_iter_key(it);
		const json_t *v = json_object_iter_value(it);
		if (!json_is_string(v))
			return error_set(err, EINVAL, "data.\"%s\" must be a string that holds a file's text", key);
		if (strcmp(key, "policy.rego") == 0)
			ret->policy = (struct str){json_string_value(v), json_string_length(v)};
	}
	return 0;
}

static int check_document(struct initdata *i, struct error *err)
{
	i->version = json_string_value(json_object_get(i->tree, "version"));
	i->algorithm = json_string_value(json_object_get(i->tree, "algorithm"));
	if (i->version == NULL || i->algorithm == NULL)
		return error_set(err, EINVAL, "initdata needs version = \"" VERSION "\" and algorithm = \"sha256\" as strings");
	if (strcmp(i->version, VERSION) != 0)
		return error_set(err, EINVAL, "version is \"%s\"; the guest accepts only \"" VERSION "\"", i->version);
	int rc = known_algorithm(i->algorithm, err);
	return rc < 0 ? rc : check_data(json_object_get(i->tree, "data"), i, err);
}

int initdata_parse(struct str toml, struct initdata *ret, struct error *err)
{
	if (toml.n > INITDATA_TOML_MAX)
		return error_set(err, EFBIG, "initdata is %zu bytes; at most %zu are allowed", toml.n, INITDATA_TOML_MAX);
	struct initdata i = {.tree = toml_read(toml, err)};
	if (i.tree == NULL)
		return -err->code;
	int rc = check_document(&i, err);
	if (rc < 0)
		initdata_release(&i);
	else
		*ret = i;
	return rc;
}

int initdata_encode(struct str toml, struct buf *annotation, struct error *err)
{
	CLEANUP_BUF
	struct buf packed = BUF_INIT(INITDATA_TOML_MAX);
	int rc = gzip_pack(toml, &packed, err);
	if (rc < 0)
		return rc;
	base64_encode(buf_str(&packed), annotation);
	if (!buf_ok(annotation) || annotation->n > INITDATA_ANNOTATION_MAX)
		return error_set(err, EFBIG,
						 "initdata makes an annotation of more than %zu bytes; shorten its policy or certificates",
						 INITDATA_ANNOTATION_MAX);
	return 0;
}

int initdata_decode(struct str annotation, struct buf *toml, struct error *err)
{
	CLEANUP_BUF
	struct buf packed = BUF_INIT(INITDATA_ANNOTATION_MAX);
	if (base64_decode(annotation, &packed, err) < 0)
		return error_prefix(err, "the annotation is not standard base64");
	if (gzip_unpack(buf_str(&packed), toml, err) < 0)
		return error_prefix(err, "the annotation does not hold one gzip member");
	return 0;
}

// The first n bytes, zeros where there are fewer.
static struct digest fitted(const struct digest *d, size_t n)
{
	struct digest r = {.n = n};
	memcpy(r.v, d->v, d->n < n ? d->n : n);
	return r;
}

// All forms of ret->digest.
static int fill_forms(struct initdata_digests *ret, struct error *err)
{
	ret->snp_host_data = fitted(&ret->digest, 32);
	ret->tdx_mr_config_id = fitted(&ret->digest, 48);
	ret->cca_personalization = fitted(&ret->digest, 64);
	ret->has_azure_pcr8 = strcmp(ret->algorithm, "sha256") == 0;
	if (!ret->has_azure_pcr8)
		return 0;
	char extended[64] = {0};
	memcpy(extended + 32, ret->digest.v, 32);
	return digest_of(STR("sha256"), (struct str){extended, sizeof(extended)}, &ret->azure_pcr8, err);
}

int initdata_digests(struct str toml, const char *algorithm, struct initdata_digests *ret, struct error *err)
{
	*ret = (struct initdata_digests){.algorithm = algorithm};
	int rc = digest_of(str_from(algorithm), toml, &ret->digest, err);
	return rc < 0 ? rc : fill_forms(ret, err);
}

int initdata_digests_parse(const char *text, struct initdata_digests *ret, struct error *err)
{
	static const char digits[] = "0123456789abcdef";
	static const size_t sizes[] = {32, 48, 64};
	for (size_t i = 0; initdata_algorithm_names[i] != NULL; i++) {
		const char *name = initdata_algorithm_names[i];
		const char *hex = text + strlen(name) + 1;
		if (strncmp(text, name, strlen(name)) != 0 || hex[-1] != ':' || strlen(hex) != 2 * sizes[i] ||
			strspn(hex, digits) != 2 * sizes[i])
			continue;
		*ret = (struct initdata_digests){.algorithm = name, .digest = {.n = sizes[i]}};
		for (size_t j = 0; j < sizes[i]; j++)
			ret->digest.v[j] =
				(unsigned char)((strchr(digits, hex[2 * j]) - digits) * 16 + (strchr(digits, hex[2 * j + 1]) - digits));
		return fill_forms(ret, err);
	}
	return error_set(err, EINVAL,
					 "\"%.200s\" is no digest of initdata: write it as a profile's status has it, sha256:HEX", text);
}
