#include "controller/kbs_config.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "common/secret.h"
#include "common/toml.h"

// NULL where jansson can't take a text (bad UTF-8): seen once, at the end.
struct config {
	json_t *root;
	bool bad;
};

static void set(struct config *c, json_t *table, const char *key, json_t *value)
{
	if (json_object_set_new(table, key, value) < 0)
		c->bad = true;
}

static void set_text(struct config *c, json_t *table, const char *key, const char *value)
{
	if (value != NULL)
		set(c, table, key, json_string(value));
}

static json_t *table(struct config *c, json_t *in, const char *key)
{
	json_t *t = json_object_get(in, key);
	if (t != NULL)
		return t;
	t = json_object();
	set(c, in, key, t);
	return t;
}

static const char *const tls13_suites[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
										   "TLS_CHACHA20_POLY1305_SHA256"};
#define TLS13_SUITES (sizeof(tls13_suites) / sizeof(tls13_suites[0]))

// Names joined by ':', as OpenSSL has them.
static void set_list(struct config *c, json_t *in, const char *key, const json_t *names)
{
	CLEANUP_BUF
	struct buf joined = BUF_INIT((size_t)64 * 1024);
	for (size_t i = 0; i < json_array_size(names); i++)
		buf_addf(&joined, "%s%s", i > 0 ? ":" : "", json_string_value(json_array_get(names, i)));
	if (joined.n > 0)
		set_text(c, in, key, buf_z(&joined));
	c->bad = c->bad || !buf_ok(&joined);
}

// TLS 1.3 has suites of its own: IANA's names of all others have a _WITH_.
static bool is_tls13_suite(const char *name)
{
	return strncmp(name, "TLS_", 4) == 0 && strstr(name, "_WITH_") == NULL;
}

static size_t count_tls13_suites(const json_t *names)
{
	size_t n = 0;
	for (size_t i = 0; i < json_array_size(names); i++)
		n += is_tls13_suite(json_string_value(json_array_get(names, i)));
	return n;
}

static bool is_tls12_only(const struct kbs_config_input *in)
{
	return in->tls_max != NULL && strcmp(in->tls_max, "1.2") == 0;
}

// The KBS gives the one list to TLS 1.2 and to 1.3, and doesn't start where it has no name for one that is allowed. In
// other servers' configuration a list without suites of 1.3 leaves those as they are; and one with nothing else is for 1.3.
static void write_tls_custom(struct config *c, const struct kbs_config_input *in, json_t *http)
{
	size_t n = json_array_size(in->tls_ciphers);
	size_t suites = count_tls13_suites(in->tls_ciphers);
	bool complete = n == 0 || suites > 0 || is_tls12_only(in);
	json_t *all = json_copy((json_t *)(uintptr_t)in->tls_ciphers);
	for (size_t i = 0; !complete && i < TLS13_SUITES; i++)
		(void)json_array_append_new(all, json_string(tls13_suites[i]));
	set_text(c, http, "tls_min_version", n > 0 && suites == n ? "1.3" : in->tls_min);
	set_text(c, http, "tls_max_version", in->tls_max);
	set_list(c, http, "tls_ciphers", all);
	set_list(c, http, "tls_groups", in->tls_groups);
	json_decref(all);
}

static void write_http_server(struct config *c, const struct kbs_config_input *in)
{
	json_t *http = table(c, c->root, "http_server");
	set(c, http, "sockets", json_pack("[s]", "0.0.0.0:8080"));
	set(c, http, "insecure_http", json_boolean(!in->https));
	if (!in->https)
		return;
	set_text(c, http, "private_key", KBS_HTTPS_KEY);
	set_text(c, http, "certificate", KBS_HTTPS_CERT);
	if (!in->dialect->tls_profiles)
		return;
	set_text(c, http, "tls_profile", trustee_tls_names[in->tls]);
	if (in->tls == TRUSTEE_TLS_CUSTOM)
		write_tls_custom(c, in, http);
}

// The API for admins is closed: what it would change is in objects of the cluster.
static void write_admin(struct config *c, const struct kbs_config_input *in)
{
	json_t *admin = table(c, c->root, "admin");
	switch (in->dialect->admin) {
	case ADMIN_KEY:
		set(c, admin, "insecure_api", json_false());
		set_text(c, admin, "auth_public_key", KBS_ADMIN_KEY);
		break;
	case ADMIN_TYPE:
		set_text(c, admin, "type", "DenyAll");
		break;
	case ADMIN_MODE:
		set_text(c, admin, "authorization_mode", "DenyAll");
		break;
	}
}

static void write_token(struct config *c, const struct kbs_config_input *in)
{
	json_t *token = table(c, c->root, "attestation_token");
	set(c, token, in->dialect->header_jwk_key, json_boolean(!in->token_signer));
	if (in->token_signer)
		set(c, token, "trusted_certs_paths", json_pack("[s]", KBS_TOKEN_CERT));
}

static void write_reference_values(struct config *c, const struct kbs_config_input *in, json_t *as)
{
	json_t *rvps = table(c, as, "rvps_config");
	set_text(c, rvps, "type", "BuiltIn");
	if (!in->dialect->reference_values_table) {
		set_text(c, rvps, "storage_type", "LocalJson");
		return;
	}
	json_t *storage = table(c, rvps, "storage");
	set_text(c, storage, "type", "LocalJson");
	set_text(c, storage, "file_path", in->dialect->reference_values);
}

static void write_verifiers(struct config *c, const struct kbs_config_input *in, json_t *as)
{
	const struct trustee_dialect *d = in->dialect;
	if (d->nvidia_verifier && in->nvidia != NVIDIA_OFF)
		set_text(c, table(c, table(c, as, "verifier_config"), "nvidia_verifier"), "type",
				 in->nvidia == NVIDIA_REMOTE ? "Remote" : "Local");
	if (!in->air_gapped)
		return;
	json_t *verifiers = table(c, as, "verifier_config");
	set(c, table(c, verifiers, "snp_verifier"), "vcek_sources", json_pack("[{s:s}]", "type", "OfflineStore"));
	set_text(c, table(c, verifiers, "dcap_verifier"), "collateral_service", KBS_COLLATERAL);
}

// The folder that policies are in, without the last part: the version appends that itself.
static void set_policy_dir(struct config *c, const struct kbs_config_input *in, json_t *broker)
{
	const char *path = in->dialect->attestation_policies;
	const char *last = strrchr(path, '/');
	set(c, broker, "policy_dir", json_stringn(path, (size_t)(last - path)));
}

static void write_attestation_service(struct config *c, const struct kbs_config_input *in)
{
	json_t *as = table(c, c->root, "attestation_service");
	if (in->microservices) {
		set_text(c, as, "type", "coco_as_grpc");
		set_text(c, as, "as_addr", "http://127.0.0.1:50004");
		return;
	}
	set_text(c, as, "type", "coco_as_builtin");
	json_t *broker = table(c, as, "attestation_token_broker");
	if (in->dialect->attestation_dirs) {
		set_text(c, as, "work_dir", "/opt/confidential-containers/attestation-service");
		set_text(c, broker, "type", "Ear");
		set_policy_dir(c, in, broker);
	}
	set(c, broker, "duration_min", json_integer(KBS_TOKEN_MINUTES));
	if (in->token_signer) {
		json_t *signer = table(c, broker, "signer");
		set_text(c, signer, "key_path", KBS_TOKEN_KEY);
		set_text(c, signer, "cert_path", KBS_TOKEN_CERT);
	}
	write_reference_values(c, in, as);
	write_verifiers(c, in, as);
}

static const char *const session_types[] = {"Memory", "Redis", "Postgres"};

static void write_storage(struct config *c, const struct kbs_config_input *in)
{
	const struct trustee_dialect *d = in->dialect;
	if (d->session_storage)
		set_text(c, c->root, "session_storage_type", session_types[in->sessions]);
	if (d->policy_section != NULL)
		set_text(c, table(c, c->root, d->policy_section), "policy_path", d->resource_policy);
	if (!d->storage_backend)
		return;
	json_t *storage = table(c, c->root, "storage_backend");
	json_t *backends = table(c, storage, "backends");
	set_text(c, storage, "storage_type", "LocalFs");
	set_text(c, table(c, backends, "local_fs"), "dir_path", "/opt/confidential-containers/storage");
	set_text(c, table(c, backends, "local_json"), "file_dir_path", "/opt/confidential-containers/storage/local_json");
	// A storage that is named must have a table, even an empty one. The address of Postgres comes from the environment; that
	// of Redis, which 0.21.0 doesn't look for there, stands here.
	if (d->session_storage && in->sessions == SESSIONS_REDIS)
		set_text(c, table(c, backends, "redis"), "url", in->sessions_url);
	if (d->session_storage && in->sessions == SESSIONS_POSTGRES)
		(void)table(c, backends, "postgres");
}

static void write_resources(struct config *c, const struct kbs_config_input *in)
{
	const struct trustee_dialect *d = in->dialect;
	json_t *plugin = json_object();
	set(c, c->root, "plugins", json_pack("[o]", plugin));
	set_text(c, plugin, "name", "resource");
	if (in->vault.address == NULL) {
		set_text(c, plugin, d->backend_key, d->file_backend);
		if (!d->storage_backend)
			set_text(c, plugin, "dir_path", d->repository);
		return;
	}
	set_text(c, plugin, d->backend_key, "Vault");
	set_text(c, plugin, "vault_url", in->vault.address);
	set_text(c, plugin, "token", in->vault.token);
	set_text(c, plugin, "mount_path", in->vault.mount_path);
	set(c, plugin, "verify_ssl", json_true()); // false is the KBS's own default
	if (in->vault.ca)
		set(c, plugin, "ca_certs", json_pack("[s]", KBS_VAULT_CA));
}

// What is asked for, and can't be had from this version.
static int check(const struct kbs_config_input *in, struct error *err)
{
	const struct trustee_dialect *d = in->dialect;
	const char *what = NULL;
	int since = 0;
	if (in->https && in->tls != TRUSTEE_TLS_INTERMEDIATE && !d->tls_profiles) {
		what = "spec.tlsConfig";
		since = 21;
	} else if (in->nvidia == NVIDIA_REMOTE && !d->nvidia_verifier) {
		what = "spec.nvidia Remote";
		since = 16;
	} else if (in->air_gapped && !d->offline_collateral) {
		what = "spec.airGapped";
		since = 18;
	} else if (in->sessions == SESSIONS_REDIS && !d->tls_profiles) {
		what = "spec.sessionStorage Redis";
		since = 21;
	} else if (in->sessions == SESSIONS_POSTGRES && !d->session_storage) {
		what = "spec.sessionStorage Postgres";
		since = 20;
	}
	if (what == NULL)
		return 0;
	return error_set(err, ENOTSUP,
					 "%s needs Trustee 0.%d or newer, but spec.trusteeVersion (or the image's tag) is %s; "
					 "take a newer one, or leave it out",
					 what, since, d->versions);
}

static int check_ciphers(const struct kbs_config_input *in, struct error *err)
{
	size_t n = json_array_size(in->tls_ciphers);
	if (!in->https || in->tls != TRUSTEE_TLS_CUSTOM || n == 0 || !is_tls12_only(in) ||
		count_tls13_suites(in->tls_ciphers) < n)
		return 0;
	return error_set(err, EINVAL,
					 "spec.tlsConfig.ciphers has suites of TLS 1.3 alone, but spec.tlsConfig.maxVersion is 1.2; add a "
					 "cipher of TLS 1.2, or raise maxVersion");
}

int kbs_config_write(const struct kbs_config_input *in, struct buf *out, struct error *err)
{
	if (check(in, err) < 0 || check_ciphers(in, err) < 0)
		return -err->code;
	struct config c = {.root = json_object()};
	write_storage(&c, in);
	write_http_server(&c, in);
	write_admin(&c, in);
	write_token(&c, in);
	write_attestation_service(&c, in);
	write_resources(&c, in);
	int rc = c.bad ? error_set(err, EINVAL, "a text of the KBS's configuration is no UTF-8; correct it")
				   : toml_write(c.root, out, err);
	secret_json_free(c.root); // Vault's token and the address of Redis are in it
	return rc;
}

bool kbs_config_is_secret(const struct trustee_hosting *h)
{
	return h->vault_given || h->sessions.type == SESSIONS_REDIS;
}
