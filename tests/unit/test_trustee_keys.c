// The Secrets of a Trustee: certificates that are given, those that are derived of them, and keys of our own.
#include "common/json_made.h"
#include "trustee_checks.h"

// ---- Certificates that are given

static struct given_case {
	const char *name;
	const char *cert, *key, *ca; // NULL: absent
	const char *reasons;         // of errors, of (warnings), of [notes]
	const char *derived, *trust; // NULL: can't be used
	const char *host;
	bool token;
} given_cases[] = {
	{"given: a chain and its CA", "@cert leaf inter", "@key leaf", "@cert root", "", "leaf, inter", "root", NULL,
	 false},
	{"given: no CA", "@cert leaf inter", "@key leaf", NULL, "", "leaf, inter", "inter", NULL, false},
	{"given: an empty CA", "@cert leaf inter", "@key leaf", "", "", "leaf, inter", "inter", NULL, false},
	{"given: with its root", "@cert leaf inter root", "@key leaf", NULL, "", "leaf, inter, root", "root", NULL, false},
	{"given: self-signed", "@cert self", "@key self", NULL, "[SelfSigned]", "self", "self", NULL, false},
	{"given: alone", "@cert of-root", "@key of-root", NULL, "(NoIssuer)", "of-root", "of-root", NULL, false},
	{"given: RSA", "@cert rsa", "@key rsa", "@cert root", "", "rsa", "root", NULL, false},
	{"given: an older form of the key", "@cert rsa", "@sec1 rsa", "@cert root", "", "rsa", "root", NULL, false},
	{"given: soon to expire", "@cert soon inter", "@key soon", "@cert root", "(ExpiresSoon)", "soon, inter", "root",
	 NULL, false},
	{"given: for this host", "@cert leaf inter", "@key leaf", "@cert root", "", "leaf, inter", "root",
	 "kbs.apps.example.com", false},
	{"given: for another host", "@cert leaf inter", "@key leaf", "@cert root", "HostMissing", NULL, NULL,
	 "kbs.example.org", false},
	{"given: nothing", NULL, NULL, NULL, "Absent Absent", NULL, NULL, NULL, false},
	{"given: no certificate", NULL, "@key leaf", NULL, "Absent", NULL, NULL, NULL, false},
	{"given: an empty certificate", "", "@key leaf", NULL, "Absent", NULL, NULL, NULL, false},
	{"given: no key", "@cert leaf inter", NULL, NULL, "Absent", NULL, NULL, NULL, false},
	{"given: garbage", "garbage", "@key leaf", NULL, "Unreadable", NULL, NULL, NULL, false},
	{"given: a garbage key", "@cert leaf inter", "garbage", NULL, "KeyUnreadable", NULL, NULL, NULL, false},
	{"given: an encrypted key", "@cert leaf inter", "@locked leaf", NULL, "KeyEncrypted", NULL, NULL, NULL, false},
	{"given: a garbage CA", "@cert leaf inter", "@key leaf", "garbage", "CAUnreadable", NULL, NULL, NULL, false},
	{"given: a key for a certificate", "@key leaf", "@key leaf", NULL, "HasPrivateKey Unreadable", NULL, NULL, NULL,
	 false},
	{"given: another key", "@cert leaf inter", "@key self", NULL, "KeyMismatch", NULL, NULL, NULL, false},
	{"given: another CA", "@cert leaf inter", "@key leaf", "@cert other-root", "Chain", NULL, NULL, NULL, false},
	{"given: in the wrong order", "@cert inter leaf", "@key leaf", NULL, "Order", NULL, NULL, NULL, false},
	{"given: expired", "@cert expired inter", "@key expired", "@cert root", "Expired", NULL, NULL, NULL, false},
	{"given: not yet valid", "@cert future inter", "@key future", "@cert root", "NotYetValid", NULL, NULL, NULL, false},
	{"given: for clients", "@cert client inter", "@key client", "@cert root", "WrongPurpose", NULL, NULL, NULL, false},
	{"given: signed with SHA-1", "@cert sha1 inter", "@key sha1", "@cert root", "Weak", NULL, NULL, NULL, false},

	{"signer: a chain and its CA", "@cert leaf inter", "@key leaf", "@cert root", "", "leaf, inter, root", NULL, NULL,
	 true},
	{"signer: with its root", "@cert leaf inter root", "@key leaf", NULL, "", "leaf, inter, root", NULL, NULL, true},
	{"signer: all of its issuers are CAs", "@cert leaf", "@key leaf", "@cert root inter", "", "leaf, inter, root", NULL,
	 NULL, true},
	{"signer: self-signed", "@cert signer", "@key signer", NULL, "[SelfSigned]", "signer", NULL, NULL, true},
	{"signer: an older form of the key", "@cert signer", "@sec1 signer", "", "[SelfSigned]", "signer", NULL, NULL,
	 true},
	{"signer: for no host", "@cert signer", "@key signer", NULL, "[SelfSigned]", "signer", NULL, "kbs.example.com",
	 true},
	{"signer: no root", "@cert leaf inter", "@key leaf", NULL, "Chain", NULL, NULL, NULL, true},
	{"signer: RSA", "@cert rsa root", "@key rsa", NULL, "KeyKind", NULL, NULL, NULL, true},
	{"signer: P-384", "@cert p384 root", "@key p384", NULL, "KeyKind", NULL, NULL, NULL, true},
	{"signer: expired", "@cert signer-expired", "@key signer-expired", NULL, "Expired [SelfSigned]", NULL, NULL, NULL,
	 true},
	{"signer: garbage", "garbage", "garbage", "garbage", "Unreadable CAUnreadable KeyUnreadable", NULL, NULL, NULL,
	 true},
};

static const char *const derived_names[2][4] = {
	{"t-https-key-secret", "privateKey", "t-https-cert-secret", "certificate"},
	{"t-attestation-key-secret", "token.key", "t-attestation-cert-secret", "token.crt"},
};

// The derived Secrets: certificates and the key of the first; NULL: they are neither rendered nor kept.
static void assert_derived(const struct trustee_rendering *r, bool token, const char *certificates)
{
	const char *const *names = derived_names[token];
	CLEANUP_FREE char *key = value_told(secret_of(r, names[0]), names[1]);
	CLEANUP_FREE char *cert = value_told(secret_of(r, names[2]), names[3]);
	if (certificates == NULL) {
		assert_false(rendered_wants(&r->objects, &KUBE_SECRETS, names[0]));
		assert_false(rendered_wants(&r->objects, &KUBE_SECRETS, names[2]));
		return;
	}
	CLEANUP_FREE char *want_key = xasprintf("(private key: %.*s)", (int)strcspn(certificates, ","), certificates);
	CLEANUP_FREE char *want_cert = xasprintf("(certificates: %s)", certificates);
	assert_text(key, want_key);
	assert_text(cert, want_cert);
}

static void assert_trust(const struct trustee_rendering *r, const char *name)
{
	CLEANUP_FREE char *got = r->ca != NULL ? told(r->ca) : NULL;
	CLEANUP_FREE char *want = name != NULL ? xasprintf("(certificates: %s)", name) : NULL;
	assert_text(got, want);
	assert_int_equal(r->not_after_s != 0, name != NULL);
}

// live: derived ones exist, of "renewed", a self-signed "signer" for tokens.
static void check_given(const struct given_case *row, bool live)
{
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r;
	const char *const *names = derived_names[row->token];
	CLEANUP_FREE char *given =
		secret_yaml(row->token ? "token-tls" : "kbs-tls", "tls.crt", row->cert, "tls.key", row->key, row->ca);
	CLEANUP_FREE char *key =
		secret_yaml(names[0], names[1], row->token ? "@key self" : "@key renewed", NULL, NULL, NULL);
	CLEANUP_FREE char *cert =
		secret_yaml(names[2], names[3], row->token ? "@cert self" : "@cert renewed inter", NULL, NULL, NULL);
	CLEANUP_FREE char *all = xasprintf("%s%s%s", given, live ? key : "", live ? cert : "");
	make_case(&c, row->host, row->token ? TOKEN : HTTPS, all);
	world_render(&c, &r);
	assert_reasons(&r, row->reasons);
	const char *last = row->token ? "self" : "renewed, inter";
	assert_derived(&r, row->token, row->derived != NULL ? row->derived : live ? last : NULL);
	if (!row->token)
		assert_trust(&r, row->trust != NULL ? row->trust : live ? "inter" : NULL);
	for (size_t i = 0; i < r.remarks.n; i++) {
		assert_int_equal(r.remarks.v[i].about, ABOUT_CERTIFICATE);
		assert_non_null(strstr(r.remarks.v[i].message,
							   row->token
								   ? "spec.attestationTokenVerificationSpec.tlsSecretName: Secret \"token-tls\": "
								   : "spec.httpsSpec.tlsSecretName: Secret \"kbs-tls\": "));
	}
	check_objects(&c, &r);
	check_again(&c, &r);
}

static void test_given(void **state)
{
	check_given(*state, false);
	check_given(*state, true);
}

// What was published tells what the last good certificate leads to; what it doesn't lead to counts for nothing.
static struct published_case {
	const char *name, *ca, *trust;
} published_cases[] = {
	{"published: the root", "@cert root", "root"},
	{"published: another root", "@cert other-root", "inter"},
	{"published: garbage", "garbage", "inter"},
	{"published: nothing", "", "inter"},
};

// Guests are told the same while the last good certificate is lost, or damaged.
static struct published_case lost_cases[] = {
	{"published: the certificate is lost", "", "root"},
	{"published: the certificate is damaged", "garbage", "root"},
	{"published: the certificate is no base64", NULL, "root"},
};

#define PUBLISHED(ca) \
	"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: trustee-endpoint-t}\ndata: {ca.crt: \"" ca "\"}\n"

static void test_lost(void **state)
{
	const struct published_case *row = *state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r;
	CLEANUP_FREE char *cert = secret_yaml("t-https-cert-secret", "certificate", row->ca, NULL, NULL, NULL);
	CLEANUP_FREE char *all =
		xasprintf("%s%s", row->ca == NULL || row->ca[0] != '\0' ? cert : "", PUBLISHED("@cert root"));
	make_case(&c, NULL, HTTPS, all);
	if (row->ca == NULL)
		json_put(json_object_get(c.objects, "Secret/t-https-cert-secret"), "data",
				 json_pack("{s:s}", "certificate", "="));
	world_render(&c, &r);
	assert_reasons(&r, "SecretMissing");
	CLEANUP_FREE char *got = r.ca != NULL ? told(r.ca) : NULL;
	assert_text(got, "(certificates: root)");
	assert_int_equal(r.not_after_s, 0);
}

static void test_published(void **state)
{
	const struct published_case *row = *state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r;
	CLEANUP_FREE char *cert = secret_yaml("t-https-cert-secret", "certificate", "@cert leaf inter", NULL, NULL, NULL);
	CLEANUP_FREE char *all = xasprintf(
		"%s---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: trustee-endpoint-t}\ndata: {ca.crt: \"%s\"}\n", cert,
		row->ca);
	make_case(&c, NULL, HTTPS, all);
	world_render(&c, &r);
	assert_reasons(&r, "SecretMissing");
	assert_trust(&r, row->trust);
	// Half of a pair is not thrown away either.
	assert_non_null(secret_of(&r, "t-https-cert-secret"));
	assert_false(rendered_wants(&r.objects, &KUBE_SECRETS, "t-https-key-secret"));
}

// One of ours that has lost its value can't be made again now, but isn't given up.
static void test_lost_value(void **state)
{
	(void)state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r;
	make_case(&c, NULL, HTTPS,
			  "---\napiVersion: v1\nkind: Secret\nmetadata: {name: t-https-key-secret}\n"
			  "---\napiVersion: v1\nkind: Secret\nmetadata: {name: t-https-cert-secret}\ndata: {certificate: '='}\n");
	world_render(&c, &r);
	assert_null(secret_of(&r, "t-https-key-secret"));
	assert_null(secret_of(&r, "t-https-cert-secret"));
	assert_true(rendered_wants(&r.objects, &KUBE_SECRETS, "t-https-key-secret"));
	assert_true(rendered_wants(&r.objects, &KUBE_SECRETS, "t-https-cert-secret"));
	assert_trust(&r, NULL);
}

static void test_no_base64(void **state)
{
	(void)state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r;
	make_case(&c, NULL, HTTPS,
			  "---\napiVersion: v1\nkind: Secret\nmetadata: {name: kbs-tls}\ndata: {tls.crt: 'x', tls.key: 'x'}\n");
	world_render(&c, &r);
	assert_reasons(&r, "Unreadable");
	assert_derived(&r, false, NULL);
}

// A file's Secret may have its values in plain.
static void test_plain_values(void **state)
{
	(void)state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r;
	const struct pki *self = material("self", 4);
	make_case(&c, NULL, HTTPS, "");
	world_put(&c, json_pack("{s:s, s:{s:s}, s:{s:s, s:s}, s:{s:s}}", "kind", "Secret", "metadata", "name", "kbs-tls",
							"stringData", "tls.crt", self->cert_pem, "tls.key", self->key_pem, "data", "tls.crt", "?"));
	world_render(&c, &r);
	assert_reasons(&r, "[SelfSigned]");
	assert_derived(&r, false, "self");
}

// ---- When to look again

static struct time_case {
	const char *name;
	const char *cert; // material, signed by inter or by itself
	int64_t at_s;     // when it is rendered, from NOW
	int64_t again_s;  // from NOW; 0: never
} time_cases[] = {
	{"time: a year", "leaf", 0, 335 * DAY + 1},
	{"time: the moment before soon", "leaf", 335 * DAY, 335 * DAY + 1},
	{"time: soon", "leaf", 335 * DAY + 1, 365 * DAY + 1},
	{"time: the last second", "leaf", 365 * DAY, 365 * DAY + 1},
	{"time: expired", "leaf", 365 * DAY + 1, 0},
	{"time: within 30 days", "soon", 0, 20 * DAY + 1},
	{"time: not yet valid", "future", 0, DAY},
	{"time: now valid", "future", DAY, 60 * DAY + 1},
};

static void test_time(void **state)
{
	const struct time_case *row = *state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_FREE char *cert = xasprintf("@cert %s inter", row->cert);
	CLEANUP_FREE char *key = xasprintf("@key %s", row->cert);
	CLEANUP_FREE char *given = secret_yaml("kbs-tls", "tls.crt", cert, "tls.key", key, "@cert root");
	make_case(&c, NULL, HTTPS, given);
	// As it is, a second before it changes, and after.
	const int64_t moments[] = {NOW + row->at_s, NOW + row->again_s - 1, NOW + row->again_s};
	struct buf said[3] = {BUF_INIT(4096), BUF_INIT(4096), BUF_INIT(4096)};
	for (size_t i = 0; i < (row->again_s != 0 ? 3 : 1); i++) {
		CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r;
		c.in.now_s = moments[i];
		world_render(&c, &r);
		add_reasons(&r.remarks, &said[i]);
		if (i == 0)
			assert_int_equal(r.look_again_s, row->again_s != 0 ? NOW + row->again_s : 0);
	}
	if (row->again_s != 0) {
		assert_string_equal(buf_z(&said[1]), buf_z(&said[0]));
		assert_string_not_equal(buf_z(&said[2]), buf_z(&said[0]));
	}
	for (size_t i = 0; i < COUNT(said); i++)
		buf_release(&said[i]);
}

// ---- Keys of our own

static struct own_case {
	const char *name;
	const char *key, *cert; // live; NULL: absent
	bool kept;
} signer_cases[] = {
	{"own signer: none yet", NULL, NULL, false},
	{"own signer: good", "@key signer", "@cert signer", true},
	{"own signer: derived before", "@key leaf", "@cert leaf inter root", true},
	{"own signer: 30 days left", "@key signer-30-days", "@cert signer-30-days", true},
	{"own signer: less than 30 days left", "@key signer-soon", "@cert signer-soon", false},
	{"own signer: expired", "@key signer-expired", "@cert signer-expired", false},
	{"own signer: of another key", "@key self", "@cert signer", false},
	{"own signer: no key", NULL, "@cert signer", false},
	{"own signer: no certificate", "@key signer", NULL, false},
	{"own signer: garbage", "garbage", "garbage", false},
	{"own signer: P-384", "@key self-p384", "@cert self-p384", false},
	{"own signer: no root", "@key leaf", "@cert leaf inter", false},
};

static void test_own_signer(void **state)
{
	const struct own_case *row = *state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r;
	CLEANUP_FREE char *key = secret_yaml("t-attestation-key-secret", "token.key", row->key, NULL, NULL, NULL);
	CLEANUP_FREE char *cert = secret_yaml("t-attestation-cert-secret", "token.crt", row->cert, NULL, NULL, NULL);
	CLEANUP_FREE char *all = xasprintf("%s%s", row->key != NULL ? key : "", row->cert != NULL ? cert : "");
	make_case(&c, NULL, OWN_SIGNER, all);
	world_render(&c, &r);
	assert_reasons(&r, "[NoReferenceValues] SecretMissing");
	CLEANUP_FREE char *got_key = value_told(secret_of(&r, "t-attestation-key-secret"), "token.key");
	CLEANUP_FREE char *got_cert = value_told(secret_of(&r, "t-attestation-cert-secret"), "token.crt");
	if (row->kept) {
		CLEANUP_FREE char *text = expanded(row->cert);
		CLEANUP_FREE char *want = told(text);
		assert_string_equal(got_cert, want);
	} else {
		assert_string_equal(got_cert, "(certificates: one that is new)");
		assert_string_equal(got_key, "(private key: one that is new)");
		assert_int_equal(r.look_again_s, NOW + (TRUSTEE_SIGNER_DAYS - 30) * DAY + 1);
	}
	check_again(&c, &r);
}

// A second before its last 30 days begin it is kept; then there is a new one.
static void test_signer_renewal(void **state)
{
	(void)state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_TRUSTEE_RENDERING struct trustee_rendering first;
	make_case(&c, NULL, OWN_SIGNER, "");
	world_render(&c, &first);
	world_apply(&c, &first);
	for (int i = 0; i < 2; i++) {
		CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r;
		c.in.now_s = first.look_again_s - 1 + i;
		world_render(&c, &r);
		assert_int_equal(
			json_equal(secret_of(&r, "t-attestation-key-secret"), secret_of(&first, "t-attestation-key-secret")),
			i == 0);
		assert_true(r.look_again_s > c.in.now_s);
	}
}

static struct own_case auth_cases[] = {
	{"auth: none yet", NULL, NULL, false},
	{"auth: a pair", "@admin admin", "@admin-public admin", true},
	{"auth: halves of two pairs", "@admin admin", "@admin-public other-admin", false},
	{"auth: no private key", NULL, "@admin-public admin", false},
	{"auth: no public key", "@admin admin", NULL, false},
	{"auth: a pair of another kind", "@key leaf", "@admin-public leaf", false},
	{"auth: garbage", "garbage", "garbage", false},
	{"auth: the private one twice", "@admin admin", "@admin admin", false},
};

static void test_auth(void **state)
{
	const struct own_case *row = *state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r;
	CLEANUP_FREE char *auth = secret_yaml("t-auth-secret", "privateKey", row->key, "publicKey", row->cert, NULL);
	make_case(&c, NULL, "profileType: Permissive", row->key != NULL || row->cert != NULL ? auth : "");
	world_render(&c, &r);
	const json_t *got = secret_of(&r, "t-auth-secret");
	CLEANUP_FREE char *private_key = value_told(got, "privateKey");
	CLEANUP_FREE char *public_key = value_told(got, "publicKey");
	assert_string_equal(private_key, row->kept ? "(private key: admin)" : "(private key: one that is new, Ed25519)");
	assert_string_equal(public_key, row->kept ? "(public key: admin)" : "(public key: one that is new, Ed25519)");
	if (row->kept)
		assert_true(json_equal(json_object_get(got, "data"),
							   json_object_get(json_object_get(c.objects, "Secret/t-auth-secret"), "data")));
	check_again(&c, &r);
}

// ---- Vault's token

static struct vault_case {
	const char *name, *secret; // its content in flow style; NULL: there is none
	const char *reasons;
} vault_cases[] = {
	{"vault: a token", "stringData: {token: hvs.made-up}", ""},
	{"vault: a newline behind it", "stringData: {token: \"hvs.made-up\\r\\n\"}", ""},
	{"vault: no Secret", NULL, "VaultTokenMissing"},
	{"vault: no key", "stringData: {other: hvs.made-up}", "VaultTokenMissing"},
	{"vault: empty", "stringData: {token: ''}", "VaultToken"},
	{"vault: a newline alone", "stringData: {token: \"\\n\"}", "VaultToken"},
	{"vault: two words", "stringData: {token: 'hvs.made-up 2'}", "VaultToken"},
	{"vault: two lines", "stringData: {token: \"a\\nb\"}", "VaultToken"},
	{"vault: no base64", "data: {token: '?'}", "VaultToken"},
	{"vault: no UTF-8", "data: {token: '//8='}", "VaultToken"},
};

static void test_vault(void **state)
{
	const struct vault_case *row = *state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r;
	CLEANUP_FREE char *secret = xasprintf("---\n{apiVersion: v1, kind: Secret, metadata: {name: vault}, %s}\n",
										  row->secret != NULL ? row->secret : "x: y");
	make_case(&c, NULL, "vault: {address: 'https://vault:8200', tokenSecretRef: {name: vault, key: token}}",
			  row->secret != NULL ? secret : "");
	world_render(&c, &r);
	assert_reasons(&r, row->reasons);
	bool good = row->reasons[0] == '\0';
	CLEANUP_FREE char *toml = value_told(secret_of(&r, "t-kbs-config"), "kbs-config.toml");
	assert_int_equal(toml != NULL, good);
	if (good)
		assert_non_null(strstr(toml, "\ntoken = \"hvs.made-up\"\n"));
	assert_true(rendered_wants(&r.objects, &KUBE_SECRETS, "t-kbs-config"));
	assert_int_equal(rendered_wants(&r.objects, &KUBE_CONFIG_MAPS, "t-kbs-config"), !good);
	check_objects(&c, &r);
}

// ---- The address of Redis

static struct vault_case redis_cases[] = {
	{"redis: an address", "stringData: {url: 'redis://:made-up@redis:6379'}", ""},
	{"redis: a newline behind it", "stringData: {url: \"redis://:made-up@redis:6379\\n\"}", ""},
	{"redis: no Secret", NULL, "SessionURLMissing"},
	{"redis: no key", "stringData: {other: 'redis://redis'}", "SessionURLMissing"},
	{"redis: two lines", "stringData: {url: \"redis://redis\\nx\"}", "SessionURL"},
};

static void test_redis(void **state)
{
	const struct vault_case *row = *state;
	struct trustee_case c CLEANUP(world_release);
	CLEANUP_TRUSTEE_RENDERING struct trustee_rendering r;
	CLEANUP_FREE char *secret = xasprintf("---\n{apiVersion: v1, kind: Secret, metadata: {name: redis}, %s}\n",
										  row->secret != NULL ? row->secret : "x: y");
	make_case(&c, NULL, "sessionStorage: {type: Redis, secretRef: {name: redis, key: url}}",
			  row->secret != NULL ? secret : "");
	world_render(&c, &r);
	assert_reasons(&r, row->reasons);
	bool good = row->reasons[0] == '\0';
	CLEANUP_FREE char *toml = value_told(secret_of(&r, "t-kbs-config"), "kbs-config.toml");
	assert_int_equal(toml != NULL, good);
	if (good)
		assert_non_null(strstr(toml, "[storage_backend.backends.redis]\nurl = \"redis://:made-up@redis:6379\"\n"));
	assert_true(rendered_wants(&r.objects, &KUBE_SECRETS, "t-kbs-config"));
	assert_int_equal(rendered_wants(&r.objects, &KUBE_CONFIG_MAPS, "t-kbs-config"), !good);
	check_objects(&c, &r);
}

int main(void)
{
	static struct tests t;
	ADD_TABLE(&t, given_cases, test_given);
	ADD_TABLE(&t, published_cases, test_published);
	ADD_TABLE(&t, lost_cases, test_lost);
	tests_add(&t, "given: derived Secrets without their values", test_lost_value, NULL);
	tests_add(&t, "given: no base64", test_no_base64, NULL);
	tests_add(&t, "given: plain values", test_plain_values, NULL);
	ADD_TABLE(&t, time_cases, test_time);
	ADD_TABLE(&t, signer_cases, test_own_signer);
	tests_add(&t, "own signer: renewed in time", test_signer_renewal, NULL);
	ADD_TABLE(&t, auth_cases, test_auth);
	ADD_TABLE(&t, vault_cases, test_vault);
	ADD_TABLE(&t, redis_cases, test_redis);
	return _cmocka_run_group_tests("trustee_keys", t.v, t.n, materials_make, materials_release);
}
