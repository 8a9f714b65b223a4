#include "controller/trustee_policy.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/encode.h"
#include "common/json_write.h"
#include "common/mem.h"

// Made from controller/policies/*.rego by the Makefile.
static const unsigned char permissive[] = {
#include "gen/resource-permissive.inc"
	, 0};
static const unsigned char restrictive[] = {
#include "gen/resource-restrictive.inc"
	, 0};
static const unsigned char ibm_se[] = {
#include "gen/resource-ibm-se.inc"
	, 0};
static const unsigned char shared[] = {
#include "gen/resource-shared.inc"
	, 0};
static const unsigned char cpu[] = {
#include "gen/attestation-cpu.inc"
	, 0};
static const unsigned char gpu[] = {
#include "gen/attestation-gpu.inc"
	, 0};

#define TEXT(array) ((struct str){(const char *)(array), sizeof(array) - 1})

// Marks in those texts; tests/unit/test_trustee_policy.c sees to it that they are there.
#define HEAD_END "import rego.v1\n"
#define NO_BINDINGS "\nbindings := {}\n"
#define QUERY "query_reference_value(name)"
#define DATA "data.reference[name]"

// Where `mark` begins in s; the end of s where it isn't there.
static size_t find(struct str s, const char *mark)
{
	const char *at = memmem(s.p, s.n, mark, strlen(mark));
	return at != NULL ? (size_t)(at - s.p) : s.n;
}

static struct str cut(struct str s, size_t n)
{
	n = n < s.n ? n : s.n;
	return (struct str){s.p + n, s.n - n};
}

// ---- Bindings

// One digest for one path; a path for nobody has an entry without one.
struct entry {
	const char *path;
	const struct initdata_digests *digests;
};

static int digest_compare(const struct initdata_digests *a, const struct initdata_digests *b)
{
	if (a == NULL || b == NULL)
		return (a != NULL) - (b != NULL);
	if (a->digest.n != b->digest.n)
		return a->digest.n < b->digest.n ? -1 : 1;
	return memcmp(a->digest.v, b->digest.v, a->digest.n);
}

static int entry_compare(const void *a, const void *b)
{
	const struct entry *x = a;
	const struct entry *y = b;
	int by_path = strcmp(x->path, y->path);
	return by_path != 0 ? by_path : digest_compare(x->digests, y->digests);
}

// As Trustee reads a resource's path: kbs/src/plugins/implementations/resource/backend.rs.
static bool segment_ok(const char *s, size_t n)
{
	static const char some[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.";
	return n > 0 && s[0] != '.' && strspn(s, some) >= n;
}

static bool path_ok(const char *path)
{
	unsigned whole = 0; // segments that a slash ends
	for (const char *slash; (slash = strchr(path, '/')) != NULL; path = slash + 1, whole++)
		if (!segment_ok(path, (size_t)(slash - path)))
			return false;
	return *path == '\0' ? whole == 1 || whole == 2 : whole == 2 && segment_ok(path, strlen(path));
}

static int check_bindings(enum trustee_resource_policy policy, const struct policy_binding *v, size_t n,
						  struct error *err)
{
	size_t digests = 0;
	if (n > 0 && policy == RESOURCE_IBM_SE)
		return error_set(
			err, EINVAL,
			"bindings: evidence of IBM Secure Execution has no initdata digest that a resource could be bound to; "
			"remove the bindings");
	if (n > POLICY_BINDINGS_MAX)
		return error_set(err, EFBIG,
						 "bindings: there are %zu; at most %d can be used: bind prefixes such as \"default/\"", n,
						 POLICY_BINDINGS_MAX);
	for (size_t i = 0; i < n; i++) {
		if (strlen(v[i].path) > POLICY_PATH_MAX || !path_ok(v[i].path))
			return error_set(
				err, EINVAL,
				"bindings[%zu]: \"%.200s\" is no path of a resource: write repository/type/tag, or the prefix "
				"repository/type/ or repository/, of letters, digits, \"_\", \"-\" and \".\", at most %d "
				"characters",
				i, v[i].path, POLICY_PATH_MAX);
		digests += v[i].n;
	}
	if (digests > POLICY_DIGESTS_MAX)
		return error_set(
			err, EFBIG,
			"bindings: they have %zu digests; at most %d can be used: remove digests that no profile has any more",
			digests, POLICY_DIGESTS_MAX);
	return 0;
}

// New; *ret_n entries, sorted, each once.
static struct entry *entries_make(const struct policy_binding *v, size_t n, size_t *ret_n)
{
	size_t all = 0;
	size_t used = 0;
	size_t kept = 0;
	for (size_t i = 0; i < n; i++)
		all += v[i].n + 1;
	struct entry *e = xcalloc(all + 1, sizeof(*e));
	for (size_t i = 0; i < n; i++) {
		e[used++] = (struct entry){v[i].path, NULL};
		for (size_t j = 0; j < v[i].n; j++)
			e[used++] = (struct entry){v[i].path, &v[i].digests[j]};
	}
	qsort(e, used, sizeof(*e), entry_compare);
	for (size_t i = 0; i < used; i++)
		if (kept == 0 || entry_compare(&e[kept - 1], &e[i]) != 0)
			e[kept++] = e[i];
	*ret_n = kept;
	return e;
}

// ---- Forms of a digest in evidence

static void add_text(const struct buf *text, struct buf *out)
{
	json_write_string(out, buf_str(text));
}

static void add_hex(const struct digest *d, struct buf *out)
{
	CLEANUP_BUF
	struct buf text = BUF_INIT(2 * DIGEST_MAX);
	hex_encode(d->v, d->n, &text);
	add_text(&text, out);
}

static void add_base64(const struct digest *d, struct buf *out)
{
	CLEANUP_BUF
	struct buf text = BUF_INIT(2 * DIGEST_MAX);
	base64_encode((struct str){(const char *)d->v, d->n}, &text);
	add_text(&text, out);
}

static const struct digest *of_snp(const struct initdata_digests *d)
{
	return &d->snp_host_data;
}

static const struct digest *of_tdx(const struct initdata_digests *d)
{
	return &d->tdx_mr_config_id;
}

static const struct digest *of_azure(const struct initdata_digests *d)
{
	return d->has_azure_pcr8 ? &d->azure_pcr8 : NULL;
}

static const struct digest *of_cca(const struct initdata_digests *d)
{
	return &d->cca_personalization;
}

static const struct digest *of_sample(const struct initdata_digests *d)
{
	return &d->digest;
}

// How verifiers of Trustee up to 0.21 write the claim init_data: SNP's in base64 up to 0.17, in hexadecimal since;
// CCA's in hexadecimal, by its documentation in base64. SE's and CSV's evidence has none.
static const struct form {
	const char *tee;
	const struct digest *(*of)(const struct initdata_digests *d); // NULL: this one has no such form
	bool hex, base64;
} forms[] = {
	{"az-snp-vtpm", of_azure, true, false},
	{"az-tdx-vtpm", of_azure, true, false},
	{"cca", of_cca, true, true},
	{"sample", of_sample, false, true},
	{"snp", of_snp, true, true},
	{"tdx", of_tdx, true, false},
};

// A digest a line: one line for all would be longer than the engine takes.
static void add_form(const struct form *form, const struct entry *e, size_t n, struct buf *out)
{
	const char *between = "\n      ";
	for (size_t i = 0; i < n; i++) {
		const struct digest *d = e[i].digests != NULL ? form->of(e[i].digests) : NULL;
		if (d != NULL && form->hex) {
			buf_addz(out, between);
			add_hex(d, out);
			between = ",\n      ";
		}
		if (d != NULL && form->base64) {
			buf_addz(out, between);
			add_base64(d, out);
			between = ",\n      ";
		}
	}
	buf_addz(out, between[0] == ',' ? "\n    ]" : "]");
}

// The n entries of one path.
static void add_path(const struct entry *e, size_t n, struct buf *out)
{
	buf_addz(out, "\n  ");
	json_write_string(out, str_from(e[0].path));
	buf_addz(out, ": {");
	for (size_t f = 0; f < sizeof(forms) / sizeof(forms[0]); f++) {
		buf_addf(out, "%s\n    \"%s\": [", f > 0 ? "," : "", forms[f].tee);
		add_form(&forms[f], e, n, out);
	}
	buf_addz(out, "\n  }");
}

static void add_bindings(const struct entry *e, size_t n, struct buf *out)
{
	buf_addz(out, "\nbindings := {");
	for (size_t i = 0, same; i < n; i += same) {
		for (same = 1; i + same < n && strcmp(e[i].path, e[i + same].path) == 0; same++)
			continue;
		if (i > 0)
			buf_addc(out, ',');
		add_path(e + i, same, out);
	}
	buf_addz(out, n > 0 ? "\n}\n" : "}\n");
}

// ---- Policies

static struct str resource_text(enum trustee_resource_policy policy)
{
	switch (policy) {
	case RESOURCE_PERMISSIVE:
		return TEXT(permissive);
	case RESOURCE_IBM_SE:
		return TEXT(ibm_se);
	case RESOURCE_RESTRICTIVE:
		break;
	}
	return TEXT(restrictive);
}

int trustee_policy_resource(enum trustee_resource_policy policy, const struct policy_binding *v, size_t n,
							struct buf *out, struct error *err)
{
	int r = check_bindings(policy, v, n, err);
	if (r < 0)
		return r;
	size_t nentries = 0;
	CLEANUP_FREE struct entry *entries = entries_make(v, n, &nentries);
	struct str common = TEXT(shared);
	common = cut(common, find(common, HEAD_END) + strlen(HEAD_END));
	size_t place = find(common, NO_BINDINGS);
	buf_add_str(out, resource_text(policy));
	buf_add(out, common.p, place);
	add_bindings(entries, nentries, out);
	buf_add_str(out, cut(common, place + strlen(NO_BINDINGS)));
	return buf_ok(out)
			   ? 0
			   : error_set(err, EFBIG, "bindings: the policy gets larger than %zu bytes; use fewer of them", out->max);
}

void trustee_policy_attestation(enum trustee_attestation_policy policy, enum trustee_references references,
								struct buf *out)
{
	struct str text = policy == ATTESTATION_GPU ? TEXT(gpu) : TEXT(cpu);
	while (references == REFERENCES_DATA && find(text, QUERY) < text.n) {
		size_t at = find(text, QUERY);
		buf_add(out, text.p, at);
		buf_addz(out, DATA);
		text = cut(text, at + strlen(QUERY));
	}
	buf_add_str(out, text);
}
