#include <errno.h>
#include <stdio.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "cases.h"
#include "common/certificate.h"
#include "common/certificate_chain.h"
#include "common/certificate_make.h"
#include "common/secret.h"

#define NOW ((int64_t)1900000000)
#define DAY ((int64_t)24 * 60 * 60)
#define HOST "coco-webhook.system.svc"

static const char *const hosts[] = {HOST, "coco-webhook"};

static const struct serving_request usual = {"coco-webhook", hosts, COUNT(hosts), NOW, 90 * DAY};

// One with its CA, made and read again.
struct made {
	struct buf key, cert, ca;
	X509 *x, *issuer;
};

static X509 *parsed(const struct buf *pem)
{
	STACK_OF(X509) *all = certificates_read(buf_str(pem));
	assert_int_equal(sk_X509_num(all), 1);
	X509 *x = sk_X509_pop(all);
	sk_X509_free(all);
	return x;
}

static void make(struct made *m, const struct serving_request *request)
{
	struct error err;
	*m = (struct made){secret_buf(KEY_PEM_MAX), BUF_INIT(16384), BUF_INIT(16384), NULL, NULL};
	assert_int_equal(certificate_make_serving(request, &m->key, &m->cert, &m->ca, &err), 0);
	m->x = parsed(&m->cert);
	m->issuer = parsed(&m->ca);
}

static void release(struct made *m)
{
	secret_buf_release(&m->key);
	buf_release(&m->cert);
	buf_release(&m->ca);
	X509_free(m->x);
	X509_free(m->issuer);
}

// As a client that takes its rules seriously.
static int verify(const struct made *m, const char *host, int64_t at_s)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	assert_int_equal(X509_STORE_add_cert(store, m->issuer), 1);
	assert_int_equal(X509_STORE_CTX_init(ctx, store, m->x, NULL), 1);
	X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
	X509_VERIFY_PARAM_set_time(param, at_s);
	(void)X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
	(void)X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER);
	assert_int_equal(X509_VERIFY_PARAM_set1_host(param, host, 0), 1);
	int result = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	return result;
}

struct verify_case {
	const char *name;
	const char *host;
	int64_t at_s;
	int result;
};

static struct verify_case verify_cases[] = {
	{"the first host", HOST, NOW, X509_V_OK},
	{"the other", "coco-webhook", NOW, X509_V_OK},
	{"another", "other.system.svc", NOW, X509_V_ERR_HOSTNAME_MISMATCH},
	{"an hour ago, by a client whose clock is behind", HOST, NOW - 3600, X509_V_OK},
	{"before that", HOST, NOW - 3601, X509_V_ERR_CERT_NOT_YET_VALID},
	{"in its last second", HOST, NOW + 90 * DAY - 1, X509_V_OK},
	{"after its end", HOST, NOW + 90 * DAY + 1, X509_V_ERR_CERT_HAS_EXPIRED},
};

static void test_verify(void **state)
{
	const struct verify_case *c = *state;
	struct made m;
	make(&m, &usual);
	assert_int_equal(verify(&m, c->host, c->at_s), c->result);
	release(&m);
}

static void test_usable(void **state)
{
	(void)state;
	struct made m;
	make(&m, &usual);
	CLEANUP_CERTIFICATE_REPORT struct certificate_report r;
	certificate_check(&(struct certificate_input){.what = "x",
												  .cert = buf_str(&m.cert),
												  .key = buf_str(&m.key),
												  .ca = buf_str(&m.ca),
												  .use = CERTIFICATE_SERVER,
												  .hosts = hosts,
												  .nhosts = COUNT(hosts),
												  .now_s = NOW},
					  &r);
	assert_int_equal(r.nproblems, 0);
	assert_true(r.is_p256);
	assert_int_equal(r.nnames, COUNT(hosts));
	release(&m);
}

// What Go's verifier looks at, beside what OpenSSL's does.
static void test_extensions(void **state)
{
	(void)state;
	struct made m;
	make(&m, &usual);
	assert_int_equal(X509_check_ca(m.x), 0);
	assert_int_equal(X509_check_ca(m.issuer), 1);
	assert_int_equal(X509_get_pathlen(m.issuer), 0);
	assert_int_equal(X509_get_key_usage(m.issuer), KU_KEY_CERT_SIGN);
	assert_int_equal(X509_get_key_usage(m.x), KU_DIGITAL_SIGNATURE);
	assert_int_equal(X509_get_extended_key_usage(m.x), XKU_SSL_SERVER);
	const ASN1_OCTET_STRING *id = X509_get0_subject_key_id(m.issuer);
	assert_non_null(id);
	assert_int_equal(ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(m.x), id), 0);
	int at = X509_get_ext_by_NID(m.issuer, NID_name_constraints, -1);
	assert_true(at >= 0);
	assert_int_equal(X509_EXTENSION_get_critical(X509_get_ext(m.issuer, at)), 1);
	release(&m);
}

static void test_differ(void **state)
{
	(void)state;
	struct made a;
	struct made b;
	make(&a, &usual);
	make(&b, &usual);
	assert_string_not_equal(buf_z(&a.key), buf_z(&b.key));
	assert_int_not_equal(ASN1_INTEGER_cmp(X509_get0_serialNumber(a.x), X509_get0_serialNumber(b.x)), 0);
	assert_int_not_equal(ASN1_INTEGER_cmp(X509_get0_serialNumber(a.x), X509_get0_serialNumber(a.issuer)), 0);
	X509 *own = b.issuer;
	b.issuer = a.issuer;
	assert_int_not_equal(verify(&b, HOST, NOW), X509_V_OK);
	b.issuer = own;
	release(&a);
	release(&b);
}

#define LABEL "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// As long as Kubernetes allows a Service's and a namespace's name to be.
static void test_long_names(void **state)
{
	(void)state;
	static const char *const longest[] = {LABEL "." LABEL ".svc.cluster.local", LABEL "." LABEL ".svc", LABEL "." LABEL,
										  LABEL};
	const struct serving_request request = {"coco-webhook", longest, COUNT(longest), NOW, 1};
	struct made m;
	make(&m, &request);
	assert_int_equal(verify(&m, longest[1], NOW), X509_V_OK);
	release(&m);
}

struct refused_case {
	const char *name;
	const char *common_name;
	const char *host;
	size_t nhosts;
	int64_t life_s;
	const char *message; // a part
};

static struct refused_case refused_cases[] = {
	{"no name", "", HOST, 1, DAY, "has 0 bytes: use 1 to 32"},
	{"a name of 33 bytes", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", HOST, 1, DAY, "has 33 bytes: use 1 to 32"},
	{"no host", "a", HOST, 0, DAY, "for 0 hosts"},
	{"too many hosts", "a", HOST, SERVING_HOSTS_MAX + 1, DAY, "for 17 hosts"},
	{"a host that says more", "a", "a,IP:127.0.0.1", 1, DAY, "which is no DNS name"},
	{"no life", "a", HOST, 1, 0, "for 0 seconds"},
	{"a life of more than ten years", "a", HOST, 1, SERVING_LIFE_MAX_S + 1, "for 315360001 seconds"},
};

static void test_refused(void **state)
{
	const struct refused_case *c = *state;
	const char *many[SERVING_HOSTS_MAX + 1];
	struct error err;
	struct buf key = secret_buf(KEY_PEM_MAX);
	struct buf cert = BUF_INIT(16384);
	struct buf ca = BUF_INIT(16384);
	for (size_t i = 0; i < COUNT(many); i++)
		many[i] = c->host;
	const struct serving_request request = {c->common_name, many, c->nhosts, NOW, c->life_s};
	assert_int_equal(certificate_make_serving(&request, &key, &cert, &ca, &err), -EINVAL);
	if (strstr(err.msg, c->message) == NULL)
		fail_msg("\"%s\" lacks \"%s\"", err.msg, c->message);
	assert_int_equal(key.n + cert.n + ca.n, 0);
	secret_buf_release(&key);
}

static void test_no_room(void **state)
{
	(void)state;
	struct error err;
	struct buf key = secret_buf(KEY_PEM_MAX);
	struct buf cert = BUF_INIT(16);
	struct buf ca = BUF_INIT(16);
	assert_int_equal(certificate_make_serving(&usual, &key, &cert, &ca, &err), -EFBIG);
	secret_buf_release(&key);
	buf_release(&cert);
	buf_release(&ca);
}

int main(void)
{
	static struct tests t;
	ADD_TABLE(&t, verify_cases, test_verify);
	tests_add(&t, "it is usable as a server's", test_usable, NULL);
	tests_add(&t, "extensions", test_extensions, NULL);
	tests_add(&t, "each is another, and no CA signs twice", test_differ, NULL);
	tests_add(&t, "the longest names", test_long_names, NULL);
	ADD_TABLE(&t, refused_cases, test_refused);
	tests_add(&t, "no room", test_no_room, NULL);
	return tests_run("serving certificate", &t);
}
