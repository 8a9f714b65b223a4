// Goldens: tests/golden/kbs-config/NAME.toml; COCO_UPDATE_GOLDENS=1 writes them anew, for a person to read.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "common/cleanup.h"
#include "common/files.h"
#include "common/mem.h"
#include "common/toml.h"
#include "controller/kbs_config.h"

#define GOLDENS "tests/golden/kbs-config"
#define TEXT_MAX ((size_t)64 * 1024)

struct config_case {
	const char *name;
	int minor;
	struct kbs_config_input in;
	const char *ciphers, *groups; // JSON
	const char *refused;          // NULL: written
};

#define RESTRICTED .https = true, .token_signer = true, .tls = TRUSTEE_TLS_INTERMEDIATE
#define PERMISSIVE .token_signer = true, .tls = TRUSTEE_TLS_INTERMEDIATE

static struct config_case config_cases[] = {
	{"permissive-0.15", 15, {PERMISSIVE}, NULL, NULL, NULL},
	{"permissive-0.21", 21, {PERMISSIVE}, NULL, NULL, NULL},
	{"restricted-0.15", 15, {RESTRICTED}, NULL, NULL, NULL},
	{"restricted-0.16", 16, {RESTRICTED}, NULL, NULL, NULL},
	{"restricted-0.18-air-gapped", 18, {RESTRICTED, .air_gapped = true, .nvidia = NVIDIA_LOCAL}, NULL, NULL, NULL},
	{"restricted-0.19", 19, {RESTRICTED}, NULL, NULL, NULL},
	{"restricted-0.20-postgres", 20, {RESTRICTED, .sessions = SESSIONS_POSTGRES}, NULL, NULL, NULL},
	{"restricted-0.21", 21, {RESTRICTED}, NULL, NULL, NULL},
	{"restricted-0.21-microservices", 21, {RESTRICTED, .microservices = true}, NULL, NULL, NULL},
	{"restricted-0.21-tls-old", 21, {.https = true, .token_signer = true, .tls = TRUSTEE_TLS_OLD}, NULL, NULL, NULL},
	{"restricted-0.21-tls-modern",
	 21,
	 {.https = true, .token_signer = true, .tls = TRUSTEE_TLS_MODERN},
	 NULL,
	 NULL,
	 NULL},
	{"restricted-0.21-tls-custom",
	 21,
	 {.https = true, .token_signer = true, .tls = TRUSTEE_TLS_CUSTOM, .tls_min = "1.2", .tls_max = "1.3"},
	 "[\"ECDHE-RSA-AES128-GCM-SHA256\", \"evil\\\"\\ninsecure_http = true\"]",
	 "[\"X25519\", \"secp256r1\"]",
	 NULL},
#define CUSTOM .https = true, .token_signer = true, .tls = TRUSTEE_TLS_CUSTOM
	{"restricted-0.21-tls-custom-1.2",
	 21,
	 {CUSTOM, .tls_max = "1.2"},
	 "[\"ECDHE-ECDSA-AES128-GCM-SHA256\"]",
	 NULL,
	 NULL},
	{"restricted-0.21-tls-custom-ciphers-of-1.2",
	 21,
	 {CUSTOM},
	 "[\"ECDHE-ECDSA-AES128-GCM-SHA256\", \"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\"]",
	 NULL,
	 NULL},
	{"restricted-0.21-tls-custom-ciphers-of-1.3",
	 21,
	 {CUSTOM, .tls_min = "1.2"},
	 "[\"TLS_AES_256_GCM_SHA384\"]",
	 NULL,
	 NULL},
	{"restricted-0.21-tls-custom-ciphers-of-both",
	 21,
	 {CUSTOM, .tls_min = "1.2"},
	 "[\"TLS_AES_256_GCM_SHA384\", \"ECDHE-ECDSA-AES256-GCM-SHA384\"]",
	 NULL,
	 NULL},
	{"restricted-0.21-vault",
	 21,
	 {RESTRICTED, .vault = {.address = "https://vault.example.com:8200",
							.mount_path = "secret",
							.token = "hvs.made-up",
							.ca = true}},
	 NULL,
	 NULL,
	 NULL},
	{"restricted-0.21-everything",
	 21,
	 {RESTRICTED, .air_gapped = true, .nvidia = NVIDIA_REMOTE, .sessions = SESSIONS_REDIS,
	  .sessions_url = "redis://:made-up@redis.example.com:6379"},
	 NULL,
	 NULL,
	 NULL},
	{"no-signer-0.21", 21, {.tls = TRUSTEE_TLS_INTERMEDIATE}, NULL, NULL, NULL},
	{"refused: ciphers of TLS 1.3 for TLS 1.2",
	 21,
	 {CUSTOM, .tls_max = "1.2"},
	 "[\"TLS_AES_256_GCM_SHA384\"]",
	 NULL,
	 "spec.tlsConfig.ciphers has suites of TLS 1.3 alone, but spec.tlsConfig.maxVersion is 1.2; add a cipher of TLS "
	 "1.2, "
	 "or raise maxVersion"},
	{"refused: TLS profile of 0.20",
	 20,
	 {.https = true, .tls = TRUSTEE_TLS_MODERN},
	 NULL,
	 NULL,
	 "spec.tlsConfig needs Trustee 0.21 or newer, but spec.trusteeVersion (or the image's tag) is 0.20; take a newer "
	 "one, "
	 "or leave it out"},
	{"refused: Remote of 0.15",
	 15,
	 {.nvidia = NVIDIA_REMOTE, .tls = TRUSTEE_TLS_INTERMEDIATE},
	 NULL,
	 NULL,
	 "spec.nvidia Remote needs Trustee 0.16 or newer, but spec.trusteeVersion (or the image's tag) is 0.15; take a "
	 "newer "
	 "one, or leave it out"},
	{"refused: air gap of 0.17",
	 17,
	 {.air_gapped = true, .tls = TRUSTEE_TLS_INTERMEDIATE},
	 NULL,
	 NULL,
	 "spec.airGapped needs Trustee 0.18 or newer, but spec.trusteeVersion (or the image's tag) is 0.17; take a newer "
	 "one, "
	 "or leave it out"},
	{"refused: Redis of 0.20",
	 20,
	 {.sessions = SESSIONS_REDIS, .tls = TRUSTEE_TLS_INTERMEDIATE},
	 NULL,
	 NULL,
	 "spec.sessionStorage Redis needs Trustee 0.21 or newer, but spec.trusteeVersion (or the image's tag) is 0.20; "
	 "take a "
	 "newer one, or leave it out"},
	{"refused: Postgres of 0.19",
	 19,
	 {.sessions = SESSIONS_POSTGRES, .tls = TRUSTEE_TLS_INTERMEDIATE},
	 NULL,
	 NULL,
	 "spec.sessionStorage Postgres needs Trustee 0.20 or newer, but spec.trusteeVersion (or the image's tag) is 0.19; "
	 "take "
	 "a newer one, or leave it out"},
	{"refused: no UTF-8",
	 21,
	 {RESTRICTED, .vault = {.address = "\xff"}},
	 NULL,
	 NULL,
	 "a text of the KBS's configuration is no UTF-8; correct it"},
};

static void compare_with_golden(const char *name, const struct buf *got)
{
	struct error err;
	CLEANUP_FREE
	char *path = xasprintf("%s/%s.toml", GOLDENS, name);
	if (getenv("COCO_UPDATE_GOLDENS") != NULL) {
		CLEANUP_FCLOSE
		FILE *f = fopen(path, "we");
		assert_non_null(f);
		assert_int_equal(fwrite(got->p, 1, got->n, f), got->n);
		return;
	}
	CLEANUP_BUF
	struct buf want = BUF_INIT(TEXT_MAX);
	if (file_read(path, &want, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(buf_z((struct buf *)(uintptr_t)got), buf_z(&want));
}

static void test_config(void **state)
{
	struct config_case *c = *state;
	struct error err = {0};
	CLEANUP_BUF
	struct buf out = BUF_INIT(TEXT_MAX);
	json_t *ciphers = c->ciphers != NULL ? json_loads(c->ciphers, 0, NULL) : NULL;
	json_t *groups = c->groups != NULL ? json_loads(c->groups, 0, NULL) : NULL;
	c->in.dialect = trustee_dialect_of(0, c->minor);
	c->in.tls_ciphers = ciphers;
	c->in.tls_groups = groups;
	int rc = kbs_config_write(&c->in, &out, &err);
	json_decref(ciphers);
	json_decref(groups);
	assert_text(rc < 0 ? err.msg : NULL, c->refused);
	if (rc < 0)
		return;
	compare_with_golden(c->name, &out);
	// Whatever came in, nothing but what is meant to be there came out.
	json_t *tree = toml_read(buf_str(&out), &err);
	assert_non_null(tree);
	const json_t *http = json_object_get(tree, "http_server");
	assert_int_equal(json_is_false(json_object_get(http, "insecure_http")), c->in.https);
	json_decref(tree);
}

// ---- Versions

struct version_case {
	const char *name;
	int major, minor;
	const char *dialect;
};

static struct version_case version_cases[] = {
	{"version 0.14", 0, 14, NULL},
	{"version 0.15", 0, 15, "0.15"},
	{"version 0.16", 0, 16, "0.16"},
	{"version 0.17", 0, 17, "0.17"},
	{"version 0.18", 0, 18, "0.18"},
	{"version 0.19", 0, 19, "0.19"},
	{"version 0.20", 0, 20, "0.20"},
	{"version 0.21", 0, 21, "0.21 and newer"},
	{"version 0.30", 0, 30, "0.21 and newer"},
	{"version 1.0", 1, 0, "0.21 and newer"},
};

static void test_version(void **state)
{
	const struct version_case *c = *state;
	const struct trustee_dialect *d = trustee_dialect_of(c->major, c->minor);
	assert_text(d != NULL ? d->versions : NULL, c->dialect);
}

struct image_case {
	const char *name; // the image
	int major, minor; // -1: it tells nothing
};

static struct image_case image_cases[] = {
	{"ghcr.io/confidential-containers/key-broker-service:built-in-as-v0.19.0", 0, 19},
	{"ghcr.io/confidential-containers/key-broker-service:v0.21.0", 0, 21},
	{"built-in-as-v0.19.0-trustee-operator", -1, -1},
	{"a:built-in-as-v0.19.0-trustee-operator", 0, 19},
	{"a:0.20", 0, 20},
	{"a:v1.2.3", 1, 2},
	{"registry.example.com:5000/kbs", -1, -1},
	{"registry.example.com:5000/kbs:v0.18.1", 0, 18},
	{"a:latest", -1, -1},
	{"a:b2442c22", -1, -1},
	{"a:v0", -1, -1},
	{"a:v0.x", -1, -1},
	{"a:v0.21rc1", -1, -1},
	{"a:v99999999999999999999.1", -1, -1},
	{"a@sha256:0000000000000000000000000000000000000000000000000000000000000000", -1, -1},
	{"a:v0.21.0@sha256:0000000000000000000000000000000000000000000000000000000000000000", -1, -1},
	{"", -1, -1},
};

static void test_image(void **state)
{
	const struct image_case *c = *state;
	int major = -1;
	int minor = -1;
	assert_int_equal(trustee_version_of_image(c->name, &major, &minor), c->minor >= 0);
	assert_int_equal(major, c->major);
	assert_int_equal(minor, c->minor);
}

struct spec_case {
	const char *name;
	const char *version, *image, *default_image;
	const char *dialect;
};

static struct spec_case spec_cases[] = {
	{"spec: the default image", NULL, NULL, "a:built-in-as-v0.20.0", "0.20"},
	{"spec: a default image that tells nothing", NULL, NULL, "a:latest", "0.21 and newer"},
	{"spec: its own image", NULL, "b:v0.18.0", "a:v0.21.0", "0.18"},
	// The default image's version says nothing about another image.
	{"spec: its own image, which tells nothing", NULL, "b@sha256:00", "a:v0.19.0", "0.21 and newer"},
	{"spec: a version", "0.17", "b:v0.19.0", "a:v0.21.0", "0.17"},
	{"spec: a version that is too old", "0.14", NULL, "a:v0.21.0", NULL},
	{"spec: an image that is too old", NULL, "b:v0.10.1", "a:v0.21.0", NULL},
};

static void test_spec(void **state)
{
	const struct spec_case *c = *state;
	struct trustee_hosting h = {.trustee_version = c->version, .image = c->image};
	if (c->version != NULL)
		assert_int_equal(sscanf(c->version, "%d.%d", &h.version_major, &h.version_minor), 2);
	const struct trustee_dialect *d = trustee_dialect_for(&h, c->default_image);
	assert_text(d != NULL ? d->versions : NULL, c->dialect);
}

int main(void)
{
	static struct tests t;
	ADD_TABLE(&t, config_cases, test_config);
	ADD_TABLE(&t, version_cases, test_version);
	ADD_TABLE(&t, image_cases, test_image);
	ADD_TABLE(&t, spec_cases, test_spec);
	return tests_run("kbs_config", &t);
}
