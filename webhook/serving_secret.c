#include "webhook/serving_secret.h"

#include <string.h>

#include "common/certificate.h"
#include "common/certificate_chain.h"
#include "common/certificate_make.h"
#include "common/encode.h"
#include "common/error.h"

#define DUE_PART 3 // what is left of its life when a pair gets a follower

static STACK_OF(X509) * read_cas(const json_t *secret, const char *key)
{
	CLEANUP_SECRET_TEXT struct secret_text text;
	bool coded = secret_text_read(secret, key, &text);
	return coded && text.there && text.text.n <= CERTIFICATE_PEM_MAX ? certificates_read(secret_text_str(&text)) : NULL;
}

static void note_id(struct serving_held *h)
{
	struct digest digest;
	struct error err;
	CLEANUP_BUF struct buf text = BUF_INIT(SERVING_ID_MAX - 1);
	if (digest_of(STR("sha256"), secret_text_str(&h->cert), &digest, &err) < 0)
		abort();
	hex_encode(digest.v, digest.n, &text);
	memcpy(h->id, buf_z(&text), text.n + 1);
}

// A CA's own end is an end too.
static void note_end_of_ca(struct serving_held *h, int64_t now_s)
{
	for (int i = 0; i < sk_X509_num(h->ca); i++) {
		int64_t to_s = certificate_seconds(X509_get0_notAfter(sk_X509_value(h->ca, i)));
		h->not_after_s = to_s < h->not_after_s ? to_s : h->not_after_s;
	}
	if (h->grade == PAIR_GOOD && h->not_after_s < now_s)
		h->grade = PAIR_EXPIRED;
}

static enum serving_grade grade_of(const struct certificate_report *r, const char **trouble)
{
	enum serving_grade grade = PAIR_GOOD;
	for (size_t i = 0; i < r->nproblems && r->problems[i].level == CERTIFICATE_ERROR; i++) {
		enum certificate_problem_code code = r->problems[i].code;
		if (code == CERTIFICATE_EXPIRED) {
			grade = PAIR_EXPIRED;
		} else if (code == CERTIFICATE_NOT_YET_VALID) {
			grade = PAIR_NOT_YET;
		} else {
			*trouble = certificate_problem_names[code];
			return PAIR_DAMAGED;
		}
		*trouble = certificate_problem_names[code];
	}
	return grade;
}

static void judge(struct serving_held *h, struct str ca, const char *const *hosts, size_t nhosts, int64_t now_s)
{
	CLEANUP_CERTIFICATE_REPORT struct certificate_report report;
	certificate_check(&(struct certificate_input){.what = "Secret",
												  .cert = secret_text_str(&h->cert),
												  .key = secret_text_str(&h->key),
												  .ca = ca,
												  .use = CERTIFICATE_SERVER,
												  .hosts = hosts,
												  .nhosts = nhosts,
												  .now_s = now_s},
					  &report);
	h->grade = grade_of(&report, &h->trouble);
	h->not_before_s = report.not_before_s;
	h->not_after_s = report.not_after_s;
	note_end_of_ca(h, now_s);
	if (h->ca != NULL || h->grade == PAIR_DAMAGED)
		return;
	h->grade = PAIR_DAMAGED;
	h->trouble = "NoCA";
}

// prefix: "" or SERVING_NEXT.
static void read_held(const json_t *secret, bool next, const char *const *hosts, size_t nhosts, int64_t now_s,
					  struct serving_held *ret)
{
	CLEANUP_SECRET_TEXT struct secret_text ca;
	*ret = (struct serving_held){0};
	bool coded = secret_text_read(secret, next ? SERVING_NEXT SERVING_CERT_KEY : SERVING_CERT_KEY, &ret->cert);
	coded &= secret_text_read(secret, next ? SERVING_NEXT SERVING_KEY_KEY : SERVING_KEY_KEY, &ret->key);
	coded &= secret_text_read(secret, next ? SERVING_NEXT SERVING_CA_KEY : SERVING_CA_KEY, &ca);
	if (!ret->cert.there && !ret->key.there && !ca.there)
		return;
	if (!coded) {
		ret->grade = PAIR_DAMAGED;
		ret->trouble = "NotBase64";
		return;
	}
	note_id(ret);
	ret->ca = ca.text.n > 0 && ca.text.n <= CERTIFICATE_PEM_MAX ? certificates_read(secret_text_str(&ca)) : NULL;
	judge(ret, secret_text_str(&ca), hosts, nhosts, now_s);
}

void serving_secret_read(const json_t *secret, const char *const *hosts, size_t nhosts, int64_t now_s,
						 struct serving_secret *ret)
{
	read_held(secret, false, hosts, nhosts, now_s, &ret->current);
	read_held(secret, true, hosts, nhosts, now_s, &ret->next);
	ret->old = read_cas(secret, SERVING_OLD_CA_KEY);
}

static void release_held(struct serving_held *h)
{
	secret_text_release(&h->cert);
	secret_text_release(&h->key);
	sk_X509_pop_free(h->ca, X509_free);
}

void serving_secret_release(struct serving_secret *s)
{
	release_held(&s->current);
	release_held(&s->next);
	sk_X509_pop_free(s->old, X509_free);
}

// Appends those of v[from..n) that none before brought.
static int append_once(const STACK_OF(X509) *const *v, size_t n, struct buf *out, struct error *err)
{
	for (size_t i = 0; i < n; i++)
		for (int k = 0; k < sk_X509_num(v[i]); k++) {
			X509 *x = sk_X509_value(v[i], k);
			bool brought = false;
			for (size_t b = 0; b < i && !brought; b++)
				brought = certificate_is_among(x, v[b]);
			int rc = brought ? 0 : certificate_append(x, out, err);
			if (rc < 0)
				return rc;
		}
	return 0;
}

int serving_secret_bundle(const struct serving_secret *s, struct buf *out, struct error *err)
{
	const STACK_OF(X509) *const all[] = {s->old, s->current.ca, s->next.ca};
	return append_once(all, sizeof(all) / sizeof(all[0]), out, err);
}

int serving_secret_old_of_next(const struct serving_secret *s, struct buf *out, struct error *err)
{
	const STACK_OF(X509) *const all[] = {s->old, s->current.ca};
	return append_once(all, sizeof(all) / sizeof(all[0]), out, err);
}

int64_t serving_held_life_s(const struct serving_held *h)
{
	int64_t life_s = h->not_after_s - h->not_before_s;
	return life_s > SERVING_BACKDATE_S ? life_s - SERVING_BACKDATE_S : life_s;
}

int64_t serving_held_due_s(const struct serving_held *h)
{
	return h->not_after_s - serving_held_life_s(h) / DUE_PART;
}
