#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cases.h"
#include "common/certificate_make.h"
#include "common/encode.h"
#include "common/json_made.h"
#include "common/mem.h"
#include "common/secret.h"
#include "pki.h"
#include "webhook/serving_plan.h"

#define NOW ((int64_t)1900000000)
#define NOW_MS ((int64_t)5000000)
#define MINUTE 60
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define LIFE (90 * DAY)
#define DUE_AFTER (60 * DAY) // that a pair of that life was made

static const struct serving_names names = {"system", "coco-webhook", "coco-webhook-tls", "coco-webhook"};

// ---- Material: pairs by letter, made once

static const struct material {
	char id;
	int64_t made_s, life_s;
	const char *service; // NULL: ours
} materials[] = {
	{'A', NOW - 30 * DAY, LIFE, NULL},
	{'B', NOW, LIFE, NULL},
	{'C', NOW - 80 * DAY, LIFE, NULL},
	{'D', NOW - DUE_AFTER, LIFE, NULL},     // due, this very second
	{'E', NOW - DUE_AFTER + 1, LIFE, NULL}, // due in a second
	{'X', NOW - LIFE - 1, LIFE, NULL},      // expired a second ago
	{'L', NOW - LIFE, LIFE, NULL},          // in its last second
	{'F', NOW + HOUR + 30, LIFE, NULL},     // valid in half a minute
	{'O', NOW - DAY, LIFE, "other"},        // for other names
	{'S', NOW - 20, 30, NULL},              // of a short life, due
	{'T', NOW, 30, NULL},                   // of a short life, new
};

static struct {
	struct serving_pair pair;
	char *id; // of the certificate
} made[128];

static void make(const struct material *m)
{
	struct error err;
	struct digest digest;
	struct serving_names n = names;
	struct serving_pair *pair = &made[(int)m->id].pair;
	char *hosts[SERVING_HOSTS];
	n.service = m->service != NULL ? m->service : names.service;
	serving_hosts(&n, hosts);
	*pair = (struct serving_pair){secret_buf(KEY_PEM_MAX), BUF_INIT(16384), BUF_INIT(16384)};
	const struct serving_request request = {"coco-webhook", (const char *const *)hosts, SERVING_HOSTS, m->made_s,
											m->life_s};
	assert_int_equal(certificate_make_serving(&request, &pair->key, &pair->cert, &pair->ca, &err), 0);
	assert_int_equal(digest_of(STR("sha256"), buf_str(&pair->cert), &digest, &err), 0);
	struct buf text = BUF_INIT(100);
	hex_encode(digest.v, digest.n, &text);
	made[(int)m->id].id = buf_take(&text);
	for (size_t i = 0; i < SERVING_HOSTS; i++)
		free(hosts[i]);
}

static void release(const struct material *m)
{
	struct serving_pair *pair = &made[(int)m->id].pair;
	secret_buf_release(&pair->key);
	buf_release(&pair->cert);
	buf_release(&pair->ca);
	free(made[(int)m->id].id);
}

static json_t *coded(struct str text)
{
	struct buf out = BUF_INIT(1024 * 1024);
	base64_encode(text, &out);
	json_t *v = json_made(json_string(buf_z(&out)));
	buf_release(&out);
	return v;
}

// The CAs of these pairs, "-" for what is no certificate.
static char *bundle_text(const char *letters)
{
	struct buf out = BUF_INIT(1024 * 1024);
	for (const char *l = letters; *l != '\0'; l++)
		if (*l == '-')
			buf_addz(&out, "garbage");
		else
			buf_add_str(&out, buf_str(&made[(int)*l].pair.ca));
	return buf_take(&out);
}

static void put_bundle(json_t *object, const char *key, const char *letters)
{
	char *text = bundle_text(letters);
	json_put(object, key, coded(str_from(text)));
	free(text);
}

// what: the letter of a pair; two letters: the certificate and CA of one with the key of the other; three: and a CA of a
// third. "-" for garbage, "!" for what isn't base64, "" for nothing.
static void put_pair(json_t *data, const char *prefix, const char *what)
{
	static const char *const keys[] = {"tls.crt", "tls.key", "ca.crt"};
	size_t n = strlen(what);
	for (size_t i = 0; i < 3 && n > 0; i++) {
		char c = i == 0 || n == 1 ? what[0] : i == 1 ? what[1] : what[n > 2 ? 2 : 0];
		const struct serving_pair *p = &made[(int)c].pair;
		const struct buf *of[] = {&p->cert, &p->key, &p->ca};
		char *key = xasprintf("%s%s", prefix, keys[i]);
		if (c == '!')
			json_put(data, key, json_string("*"));
		else if (c != '0')
			json_put(data, key, coded(c == '-' ? STR("garbage") : buf_str(of[i])));
		free(key);
	}
}

static json_t *secret_of(const char *current, const char *next, const char *old)
{
	json_t *data = json_object();
	put_pair(data, "", current);
	put_pair(data, "next.", next);
	if (old[0] != '\0')
		put_bundle(data, "old.ca.crt", old);
	return json_made(json_pack("{s:s, s:s, s:{s:s, s:s, s:s}, s:o}", "apiVersion", "v1", "kind", "Secret", "metadata",
							   "name", names.secret, "namespace", names.ns, "resourceVersion", "7", "data", data));
}

// Letters of each webhook's bundle, with '|' between them, an '@' before them for an injector's annotation; before a webhook's
// '>' for a Service of another name, '^' for one of another namespace, '~' for a URL. NULL: none.
static json_t *configuration_of(const char *kind, const char *bundles)
{
	if (bundles == NULL)
		return NULL;
	json_t *webhooks = json_array();
	bool annotated = bundles[0] == '@';
	char *copy = xstrdup(bundles + (annotated ? 1 : 0));
	size_t i = 0;
	for (char *rest = copy, *one; (one = strsep(&rest, "|")) != NULL; i++) {
		json_t *client = one[0] == '~' ? json_pack("{s:s}", "url", "https://127.0.0.1:1/")
									   : json_pack("{s:{s:s, s:s}}", "service", "namespace",
												   one[0] == '^' ? "other-system" : names.ns, "name",
												   one[0] == '>' ? "other-webhook" : names.service);
		char *name = xasprintf("w%zu", i);
		one += strspn(one, "~^>");
		if (one[0] != '\0')
			put_bundle(client, "caBundle", one);
		(void)json_array_append_new(
			webhooks, json_pack("{s:s, s:s, s:o}", "name", name, "sideEffects", "None", "clientConfig", client));
		free(name);
	}
	free(copy);
	json_t *c = json_made(
		json_pack("{s:s, s:s, s:{s:s, s:s, s:{s:s}}, s:o}", "apiVersion", "admissionregistration.k8s.io/v1", "kind",
				  kind, "metadata", "name", names.configuration, "resourceVersion", "9", "annotations",
				  annotated ? "cert-manager.io/inject-ca-from" : "other", "a/b", "webhooks", webhooks));
	return serving_configuration_trim(c);
}

// ---- One look

struct plan_case {
	const char *name;
	const char *current, *next, *old;  // the Secret; current NULL: there is none
	const char *mutating, *validating; // bundles
	struct {
		char served;        // the pair that this replica serves with; 0: none
		char settled;       // the next pair that was seen to be trusted
		int64_t settled_ms; // ago
		bool was_ready;
		unsigned makes;
		int64_t made_ms; // ago
		int64_t life_s;  // of new ones; 0: LIFE
	} memory;
	// What is wanted
	char serve;         // 0: what is served already
	const char *bundle; // letters
	const char *apply;  // "m", "v", "mv", ""
	enum serving_step step;
	const char *kept; // letters
	enum serving_unready unready;
	int64_t again_ms;
	const char *remark; // a part of one; NULL: there is none
};

#define NEW \
	{       \
		0   \
	}
#define HAS(letter)        \
	{                      \
		.served = (letter) \
	}
#define SERVES(letter)                        \
	{                                         \
		.served = (letter), .was_ready = true \
	}
#define SETTLED(letter, pair, ago)                                                    \
	{                                                                                 \
		.served = (letter), .settled = (pair), .settled_ms = (ago), .was_ready = true \
	}
#define SHORT(letter, pair, ago)                                                                    \
	{                                                                                               \
		.served = (letter), .settled = (pair), .settled_ms = (ago), .was_ready = true, .life_s = 30 \
	}
#define MADE(times, ago)                                                     \
	{                                                                        \
		.served = 'A', .was_ready = true, .makes = (times), .made_ms = (ago) \
	}
#define SHORT_MADE(times, ago)                                                             \
	{                                                                                      \
		.served = 'A', .was_ready = true, .makes = (times), .made_ms = (ago), .life_s = 30 \
	}
#define SIXTEEN_CAS "CCCCCCCCCCCCCCCC"
#define IN_A_MINUTE SERVING_LOOK_MAX_MS

static struct plan_case plan_cases[] = {
	// From nothing
	{"no Secret", NULL, "", "", "", "", NEW, 0, "", "", SERVING_KEEP, "", SERVING_NO_SECRET, IN_A_MINUTE,
	 "there is no Secret system/coco-webhook-tls"},
	{"no Secret any more: what is served stays", NULL, "", "", "A", "A", SERVES('A'), 0, "", "", SERVING_KEEP, "",
	 SERVING_READY, IN_A_MINUTE, "there is no Secret"},
	{"an empty Secret: made", "", "", "", "", "", NEW, 0, "", "", SERVING_MAKE, "", SERVING_NO_PAIR, IN_A_MINUTE, NULL},
	{"an empty Secret, no configurations yet: made", "", "", "", NULL, NULL, NEW, 0, "", "", SERVING_MAKE, "",
	 SERVING_NO_PAIR, IN_A_MINUTE, NULL},
	{"made by another: served, and both are told to trust it", "A", "", "", "", "", NEW, 'A', "A", "mv", SERVING_KEEP,
	 "", SERVING_UNTRUSTED_MUTATING, IN_A_MINUTE, NULL},
	{"one trusts it", "A", "", "", "A", "", HAS('A'), 0, "A", "v", SERVING_KEEP, "", SERVING_UNTRUSTED_VALIDATING,
	 IN_A_MINUTE, NULL},
	{"one of its webhooks doesn't", "A", "", "", "A|", "A", HAS('A'), 0, "A", "m", SERVING_KEEP, "",
	 SERVING_UNTRUSTED_MUTATING, IN_A_MINUTE, NULL},
	{"both do: ready", "A", "", "", "A|A", "A", HAS('A'), 0, "A", "", SERVING_KEEP, "", SERVING_READY, IN_A_MINUTE,
	 NULL},
	{"the mutating one calls another Service, which the certificate isn't for", "A", "", "", ">A|>A", "A", HAS('A'), 0,
	 "A", "", SERVING_KEEP, "", SERVING_ELSEWHERE_MUTATING, IN_A_MINUTE,
	 "webhook w0 of MutatingWebhookConfiguration coco-webhook calls Service system/other-webhook, and the serving "
	 "certificate is for system/coco-webhook: "},
	{"one webhook of the validating one calls one of another namespace", "A", "", "", "A", "A|^A", HAS('A'), 0, "A", "",
	 SERVING_KEEP, "", SERVING_ELSEWHERE_VALIDATING, IN_A_MINUTE,
	 "webhook w1 of ValidatingWebhookConfiguration coco-webhook calls Service other-system/coco-webhook"},
	{"a URL is called, as it is for a webhook outside", "A", "", "", "~A", "~A", HAS('A'), 0, "A", "", SERVING_KEEP, "",
	 SERVING_READY, IN_A_MINUTE, NULL},
	{"another Service is called later: told, and as ready as before", "A", "", "", "A", ">A", SERVES('A'), 0, "A", "",
	 SERVING_KEEP, "", SERVING_READY, IN_A_MINUTE, "calls Service system/other-webhook"},
	{"there are no configurations", "A", "", "", NULL, NULL, HAS('A'), 0, "A", "", SERVING_KEEP, "",
	 SERVING_NO_CONFIGURATION, IN_A_MINUTE, NULL},
	{"there is one: nobody asks by the other", "A", "", "", "A", NULL, HAS('A'), 0, "A", "", SERVING_KEEP, "",
	 SERVING_READY, IN_A_MINUTE, NULL},
	{"the only one doesn't trust it", "A", "", "", NULL, "", HAS('A'), 0, "A", "v", SERVING_KEEP, "",
	 SERVING_UNTRUSTED_VALIDATING, IN_A_MINUTE, NULL},
	{"an empty Secret beside a CA that is trusted: whoever serves with it goes on until the next is trusted", "", "",
	 "", "A", "A", NEW, 0, "", "", SERVING_MAKE_NEXT, "A", SERVING_NO_PAIR, IN_A_MINUTE, NULL},
	{"and one trusts another", "", "", "", "A", "C", NEW, 0, "", "", SERVING_MAKE_NEXT, "AC", SERVING_NO_PAIR,
	 IN_A_MINUTE, NULL},
	{"whose CA has expired, and nobody serves with it", "", "", "", "X", "X|-", NEW, 0, "", "", SERVING_MAKE, "",
	 SERVING_NO_PAIR, IN_A_MINUTE, NULL},
	{"or isn't valid yet", "", "", "", "F", "", NEW, 0, "", "", SERVING_MAKE, "", SERVING_NO_PAIR, IN_A_MINUTE, NULL},
	// Nothing to do
	{"all is well", "A", "", "", "A", "A", SERVES('A'), 0, "A", "", SERVING_KEEP, "", SERVING_READY, IN_A_MINUTE, NULL},
	{"and an old CA is trusted, expired or not", "A", "", "XC", "XCA", "XCA", SERVES('A'), 0, "XCA", "", SERVING_KEEP,
	 "", SERVING_READY, IN_A_MINUTE, NULL},
	{"an old CA that is the same isn't there twice", "A", "", "CA", "CA", "CA", SERVES('A'), 0, "CA", "", SERVING_KEEP,
	 "", SERVING_READY, IN_A_MINUTE, NULL},
	{"more CAs than a chain may have: ready all the same", "A", "", SIXTEEN_CAS, SIXTEEN_CAS "A", SIXTEEN_CAS "A",
	 HAS('A'), 0, SIXTEEN_CAS "A", "", SERVING_KEEP, "", SERVING_READY, IN_A_MINUTE, NULL},
	{"what else stands in a bundle goes", "A", "", "", "AC", "-", SERVES('A'), 0, "A", "mv", SERVING_KEEP, "",
	 SERVING_READY, IN_A_MINUTE, NULL},
	{"emptied by hand: written again, and it stays ready", "A", "", "", "|A", "", SERVES('A'), 0, "A", "mv",
	 SERVING_KEEP, "", SERVING_READY, IN_A_MINUTE, NULL},
	{"in another order", "A", "", "C", "AC", "CA", SERVES('A'), 0, "CA", "m", SERVING_KEEP, "", SERVING_READY,
	 IN_A_MINUTE, NULL},
	{"another program's: not written", "A", "", "", "@C", "A", SERVES('A'), 0, "A", "", SERVING_KEEP, "", SERVING_READY,
	 IN_A_MINUTE, "has the annotation cert-manager.io/inject-ca-from"},
	{"another program's, which says the same", "A", "", "", "@A", "A", SERVES('A'), 0, "A", "", SERVING_KEEP, "",
	 SERVING_READY, IN_A_MINUTE, NULL},
	// Renewal
	{"due in a second", "E", "", "", "E", "E", SERVES('E'), 0, "E", "", SERVING_KEEP, "", SERVING_READY, 1000, NULL},
	{"due: the next one is made, and the one before the last is trusted no more", "D", "", "C", "CD", "CD", SERVES('D'),
	 0, "CD", "", SERVING_MAKE_NEXT, "", SERVING_READY, IN_A_MINUTE, NULL},
	{"made: trusted beside the one in use", "D", "B", "", "D", "D", SERVES('D'), 0, "DB", "mv", SERVING_KEEP, "",
	 SERVING_READY, IN_A_MINUTE, NULL},
	{"one trusts it, the other not yet", "D", "B", "", "DB", "D", SETTLED('D', 'B', 999999), 0, "DB", "v", SERVING_KEEP,
	 "", SERVING_READY, IN_A_MINUTE, NULL},
	{"one of its webhooks doesn't trust it yet", "D", "B", "", "DB", "DB|D", SETTLED('D', 'B', 999999), 0, "DB", "v",
	 SERVING_KEEP, "", SERVING_READY, IN_A_MINUTE, NULL},
	{"all trust it, since now", "D", "B", "", "DB", "DB", SERVES('D'), 0, "DB", "", SERVING_KEEP, "", SERVING_READY,
	 60000, NULL},
	{"all trust it, but that was of another", "D", "B", "", "DB", "DB", SETTLED('D', 'A', 999999), 0, "DB", "",
	 SERVING_KEEP, "", SERVING_READY, 60000, NULL},
	{"for almost a minute", "D", "B", "", "DB", "DB", SETTLED('D', 'B', 59999), 0, "DB", "", SERVING_KEEP, "",
	 SERVING_READY, 1, NULL},
	{"for a minute: it is the one in use", "D", "B", "", "DB", "DB", SETTLED('D', 'B', 60000), 0, "DB", "",
	 SERVING_PROMOTE, "D", SERVING_READY, IN_A_MINUTE, NULL},
	{"one configuration is gone: nobody waits for it", "D", "B", "", "DB", NULL, SETTLED('D', 'B', 60000), 0, "DB", "",
	 SERVING_PROMOTE, "D", SERVING_READY, IN_A_MINUTE, NULL},
	{"another program's, which doesn't trust it: never", "D", "B", "", "@D", "DB", SETTLED('D', 'B', 60000), 0, "DB",
	 "", SERVING_KEEP, "", SERVING_READY, IN_A_MINUTE, "has the annotation"},
	{"another program's, which does", "D", "B", "", "@BD", "DB", SETTLED('D', 'B', 60000), 0, "DB", "", SERVING_PROMOTE,
	 "D", SERVING_READY, IN_A_MINUTE, "has the annotation"},
	{"taken up, and the one before stays trusted without a write", "B", "", "D", "DB", "DB", SERVES('D'), 'B', "DB", "",
	 SERVING_KEEP, "", SERVING_READY, IN_A_MINUTE, NULL},
	{"the one in use isn't trusted here: what was served stays", "B", "", "D", "D", "DB", SERVES('D'), 0, "DB", "m",
	 SERVING_KEEP, "", SERVING_READY, IN_A_MINUTE, NULL},
	{"but not when that has expired", "B", "", "", "X", "X", SERVES('X'), 'B', "B", "mv", SERVING_KEEP, "",
	 SERVING_READY, IN_A_MINUTE, NULL},
	{"a short life: the wait is as short", "S", "T", "", "ST", "ST", SHORT('S', 'T', 999), 0, "ST", "", SERVING_KEEP,
	 "", SERVING_READY, 1, NULL},
	{"a short life: promoted", "S", "T", "", "ST", "ST", SHORT('S', 'T', 1000), 0, "ST", "", SERVING_PROMOTE, "S",
	 SERVING_READY, 11000, NULL},
	{"a next one that is damaged is made anew", "D", "BA", "", "DB", "DB", SERVES('D'), 0, "DB", "", SERVING_MAKE_NEXT,
	 "", SERVING_READY, IN_A_MINUTE, NULL},
	{"a next one that has expired, after a long pause, too", "D", "X", "", "DX", "DX", SERVES('D'), 0, "DX", "",
	 SERVING_MAKE_NEXT, "", SERVING_READY, IN_A_MINUTE, NULL},
	{"a next one by a clock that is ahead, too", "D", "F", "", "DF", "DF", SETTLED('D', 'F', 60000), 0, "DF", "",
	 SERVING_MAKE_NEXT, "", SERVING_READY, IN_A_MINUTE, NULL},
	{"a next one before its time, after the clock was set back, is taken", "A", "B", "", "AB", "AB",
	 SETTLED('A', 'B', 60000), 0, "AB", "", SERVING_PROMOTE, "A", SERVING_READY, IN_A_MINUTE, NULL},
	{"a damaged next one that isn't due stays where it is", "A", "-", "", "A", "A", SERVES('A'), 0, "A", "",
	 SERVING_KEEP, "", SERVING_READY, IN_A_MINUTE, NULL},
	// The end of a life
	{"in its last second", "L", "", "", "L", "L", SERVES('L'), 0, "L", "", SERVING_MAKE_NEXT, "", SERVING_READY, 1000,
	 NULL},
	{"after a pause longer than its life: made anew, as nobody is trusted", "X", "", "", "X", "X", SERVES('X'), 0, "X",
	 "", SERVING_MAKE, "", SERVING_EXPIRED, IN_A_MINUTE, NULL},
	{"a replica that starts then shows it meanwhile", "X", "", "", "X", "X", NEW, 'X', "X", "", SERVING_MAKE, "",
	 SERVING_EXPIRED, IN_A_MINUTE, NULL},
	{"expired beside another that is trusted", "X", "", "C", "CX", "CX", SERVES('X'), 0, "CX", "", SERVING_MAKE_NEXT,
	 "C", SERVING_EXPIRED, IN_A_MINUTE, NULL},
	{"expired with a next one that is trusted: a shorter wait", "X", "B", "", "XB", "XB", SETTLED('X', 'B', 5999), 0,
	 "XB", "", SERVING_KEEP, "", SERVING_EXPIRED, 1, NULL},
	{"and over", "X", "B", "", "XB", "XB", SETTLED('X', 'B', 6000), 0, "XB", "", SERVING_PROMOTE, "X", SERVING_EXPIRED,
	 IN_A_MINUTE, NULL},
	{"by a clock that is ahead: made anew", "F", "", "", "F", "F", SERVES('F'), 0, "F", "", SERVING_MAKE, "",
	 SERVING_READY, IN_A_MINUTE, NULL},
	{"by a clock that is ahead, and somebody else is trusted", "F", "", "", "FA", "F", SERVES('F'), 0, "F", "m",
	 SERVING_MAKE_NEXT, "A", SERVING_READY, IN_A_MINUTE, NULL},
	// Damage. What is served stays, and is trusted.
	{"the data are gone", "", "", "", "A", "A", SERVES('A'), 0, "", "", SERVING_MAKE_NEXT, "A", SERVING_READY,
	 IN_A_MINUTE, NULL},
	{"and the next one is there, but not trusted", "", "B", "A", "A", "A", SERVES('A'), 0, "AB", "mv", SERVING_KEEP, "",
	 SERVING_READY, IN_A_MINUTE, NULL},
	{"and trusted for long enough", "", "B", "A", "AB", "AB", SETTLED('A', 'B', 6000), 0, "AB", "", SERVING_PROMOTE,
	 "A", SERVING_READY, IN_A_MINUTE, NULL},
	{"garbage", "-", "", "", "A", "A", SERVES('A'), 0, "", "", SERVING_MAKE_NEXT, "A", SERVING_READY, IN_A_MINUTE,
	 "ca.crt can't be used (Unreadable)"},
	{"garbage, and nobody is trusted", "-", "", "", "", "", NEW, 0, "", "", SERVING_MAKE, "", SERVING_NO_PAIR,
	 IN_A_MINUTE, "(Unreadable)"},
	{"no base64", "!", "", "", "A", "A", SERVES('A'), 0, "", "", SERVING_MAKE_NEXT, "A", SERVING_READY, IN_A_MINUTE,
	 "(NotBase64)"},
	{"the key of another", "AB", "", "", "A", "A", SERVES('A'), 0, "A", "", SERVING_MAKE_NEXT, "", SERVING_READY,
	 IN_A_MINUTE, "(KeyMismatch)"},
	{"the key of another, for one who has just started: none is served", "AB", "", "", "A", "A", NEW, 0, "A", "",
	 SERVING_MAKE_NEXT, "", SERVING_NO_PAIR, IN_A_MINUTE, "(KeyMismatch)"},
	{"no key", "A0", "", "", "A", "A", SERVES('A'), 0, "A", "", SERVING_MAKE_NEXT, "", SERVING_READY, IN_A_MINUTE,
	 "(Absent)"},
	{"the CA of another", "AAC", "", "", "A", "A", SERVES('A'), 0, "C", "mv", SERVING_MAKE_NEXT, "A", SERVING_READY,
	 IN_A_MINUTE, "(Chain)"},
	{"no CA", "AA0", "", "", "A", "A", SERVES('A'), 0, "", "", SERVING_MAKE_NEXT, "A", SERVING_READY, IN_A_MINUTE,
	 "(NoCA)"},
	{"for other names", "O", "", "", "O", "O", NEW, 0, "O", "", SERVING_MAKE_NEXT, "", SERVING_NO_PAIR, IN_A_MINUTE,
	 "(HostMissing)"},
	{"old CAs that can't be read", "A", "", "-", "A", "A", SERVES('A'), 0, "A", "", SERVING_KEEP, "", SERVING_READY,
	 IN_A_MINUTE, NULL},
	// Not too often
	{"damaged again after one was made: a second passes first", "-", "", "", "", "", MADE(1, 999), 0, "", "",
	 SERVING_KEEP, "", SERVING_READY, 1, "(Unreadable)"},
	{"and it is made", "-", "", "", "", "", MADE(1, 1000), 0, "", "", SERVING_MAKE, "", SERVING_READY, IN_A_MINUTE,
	 "(Unreadable)"},
	{"the fourth one: eight seconds", "-", "", "", "", "", MADE(4, 1000), 0, "", "", SERVING_KEEP, "", SERVING_READY,
	 7000, "(Unreadable)"},
	{"the hundredth: ten minutes", "-", "", "", "", "", MADE(100, 600000 - 5), 0, "", "", SERVING_KEEP, "",
	 SERVING_READY, 5, "(Unreadable)"},
	{"a short life can't wait that long", "-", "", "", "", "", SHORT_MADE(100, 3000), 0, "", "", SERVING_MAKE, "",
	 SERVING_READY, IN_A_MINUTE, "(Unreadable)"},
};

static void fill_memory(const struct plan_case *c, struct serving_memory *m)
{
	*m = (struct serving_memory){.settled_ms = NOW_MS - c->memory.settled_ms,
								 .was_ready = c->memory.was_ready,
								 .makes = c->memory.makes,
								 .made_ms = NOW_MS - c->memory.made_ms};
	if (c->memory.served != 0)
		memcpy(m->served, made[(int)c->memory.served].id, SERVING_ID_MAX);
	if (c->memory.settled != 0)
		memcpy(m->settled, made[(int)c->memory.settled].id, SERVING_ID_MAX);
	for (size_t i = 0; i < COUNT(materials); i++)
		if (materials[i].id == c->memory.served)
			m->served_not_after_s = materials[i].made_s + materials[i].life_s;
}

static void check_letters(const struct buf *got, const char *letters)
{
	char *wanted = bundle_text(letters);
	assert_text(buf_z(got), wanted);
	free(wanted);
}

static void check_remark(const struct serving_plan *p, const char *wanted)
{
	if (wanted == NULL) {
		assert_text(p->nremarks > 0 ? p->remarks[0] : NULL, NULL);
		return;
	}
	assert_int_equal(p->nremarks, 1);
	if (strstr(p->remarks[0], wanted) == NULL)
		fail_msg("remark \"%s\" lacks \"%s\"", p->remarks[0], wanted);
}

static void test_plan(void **state)
{
	const struct plan_case *c = *state;
	struct serving_memory memory;
	struct serving_plan p;
	json_t *secret = c->current != NULL ? secret_of(c->current, c->next, c->old) : NULL;
	json_t *mutating = configuration_of("MutatingWebhookConfiguration", c->mutating);
	json_t *validating = configuration_of("ValidatingWebhookConfiguration", c->validating);
	fill_memory(c, &memory);
	const struct serving_input in = {
		&names, c->memory.life_s != 0 ? c->memory.life_s : LIFE, secret, {mutating, validating}, NOW, NOW_MS};
	serving_plan_make(&in, &memory, &p);
	assert_text(p.cert.there ? p.id : NULL, c->serve != 0 ? made[(int)c->serve].id : NULL);
	if (c->serve != 0) {
		assert_text(buf_z(&p.cert.text), buf_z(&made[(int)c->serve].pair.cert));
		assert_text(buf_z(&p.key.text), buf_z(&made[(int)c->serve].pair.key));
		assert_text(memory.served, p.id);
	}
	check_letters(&p.bundle, c->bundle);
	char apply[3] = {0};
	if (p.apply[SERVING_MUTATING])
		apply[0] = 'm';
	if (p.apply[SERVING_VALIDATING])
		apply[strlen(apply)] = 'v';
	assert_text(apply, c->apply);
	assert_int_equal(p.step, c->step);
	assert_int_equal(p.why != NULL, c->step != SERVING_KEEP);
	check_letters(&p.kept, c->kept);
	assert_int_equal(p.unready, c->unready);
	assert_int_equal(p.again_ms, c->again_ms);
	check_remark(&p, c->remark);
	serving_plan_release(&p);
	json_decref(secret);
	json_decref(mutating);
	json_decref(validating);
}

// ---- What is sent

static void apply_patch(json_t *secret, const json_t *patch)
{
	const char *key = NULL;
	json_t *value = NULL;
	json_t *data = json_object_get(secret, "data");
	assert_text(json_string_value(json_object_get(json_object_get(patch, "metadata"), "resourceVersion")), "7");
	json_object_foreach (json_object_get(patch, "data"), key, value)
		if (json_is_null(value))
			(void)json_object_del(data, key);
		else
			(void)json_object_set(data, key, value);
}

struct patch_case {
	const char *name;
	enum serving_step step;
	const char *current, *next, *old;
	const char *kept;
	const char *made;
	const char *then_current, *then_next, *then_old;
};

static struct patch_case patch_cases[] = {
	{"made: nothing else is left", SERVING_MAKE, "-", "X", "C", "", "B", "B", "", ""},
	{"the next one: beside the one in use, without the one before", SERVING_MAKE_NEXT, "D", "", "C", "", "B", "D", "B",
	 ""},
	{"the next one in place of a damaged one", SERVING_MAKE_NEXT, "D", "-", "C", "", "B", "D", "B", ""},
	{"the next one of a damaged Secret: whom others trust stays trusted", SERVING_MAKE_NEXT, "-", "", "", "AC", "B",
	 "-", "B", "AC"},
	{"promoted", SERVING_PROMOTE, "D", "B", "C", "CD", NULL, "B", "", "CD"},
	{"promoted in place of nothing", SERVING_PROMOTE, "", "B", "A", "A", NULL, "B", "", "A"},
};

static void test_patch(void **state)
{
	const struct patch_case *c = *state;
	json_t *secret = secret_of(c->current, c->next, c->old);
	json_t *wanted = secret_of(c->then_current, c->then_next, c->then_old);
	struct serving_plan p = {.step = c->step, .kept = BUF_INIT(SERVING_BUNDLE_MAX)};
	char *kept = bundle_text(c->kept);
	buf_addz(&p.kept, kept);
	const struct serving_input in = {.names = &names, .life_s = LIFE, .secret = secret, .now_s = NOW};
	json_t *patch = serving_plan_secret_patch(&in, &p, c->made != NULL ? &made[(int)c->made[0]].pair : NULL);
	apply_patch(secret, patch);
	char *got = json_dumps(secret, JSON_SORT_KEYS | JSON_INDENT(1));
	char *want = json_dumps(wanted, JSON_SORT_KEYS | JSON_INDENT(1));
	assert_text(got, want);
	free(got);
	free(want);
	free(kept);
	secret_json_free(patch);
	serving_plan_release(&p);
	json_decref(secret);
	json_decref(wanted);
}

static void test_apply(void **state)
{
	(void)state;
	json_t *configuration = configuration_of("MutatingWebhookConfiguration", "A||C");
	struct serving_plan p = {.bundle = BUF_INIT(SERVING_BUNDLE_MAX)};
	buf_addz(&p.bundle, "pem");
	json_t *object = serving_plan_bundle_apply(configuration, &p);
	char *got = json_dumps(object, JSON_SORT_KEYS | JSON_COMPACT);
	assert_text(got, "{\"apiVersion\":\"admissionregistration.k8s.io/v1\",\"kind\":\"MutatingWebhookConfiguration\","
					 "\"metadata\":{\"name\":\"coco-webhook\",\"resourceVersion\":\"9\"},\"webhooks\":["
					 "{\"clientConfig\":{\"caBundle\":\"cGVt\"},\"name\":\"w0\"},"
					 "{\"clientConfig\":{\"caBundle\":\"cGVt\"},\"name\":\"w1\"},"
					 "{\"clientConfig\":{\"caBundle\":\"cGVt\"},\"name\":\"w2\"}]}");
	free(got);
	json_decref(object);
	json_decref(configuration);
	serving_plan_release(&p);
}

// ---- Time

// A whole rotation of one replica, its clock set back and forth: the wait goes by the monotonic clock.
static void test_clock_jumps(void **state)
{
	(void)state;
	struct serving_memory memory = {0};
	json_t *secret = secret_of("D", "B", "");
	json_t *configuration = configuration_of("MutatingWebhookConfiguration", "DB");
	static const struct {
		int64_t wall_s, mono_ms;
		enum serving_step step;
	} looks[] = {{NOW, 0, SERVING_KEEP},
				 {NOW + DAY, 30000, SERVING_KEEP},
				 {NOW - HOUR, 59999, SERVING_KEEP},
				 {NOW, 60000, SERVING_PROMOTE}};
	for (size_t i = 0; i < COUNT(looks); i++) {
		struct serving_plan p;
		const struct serving_input in = {&names,          LIFE, secret, {configuration, NULL}, looks[i].wall_s,
										 looks[i].mono_ms};
		serving_plan_make(&in, &memory, &p);
		assert_int_equal(p.step, looks[i].step);
		serving_plan_release(&p);
	}
	json_decref(secret);
	json_decref(configuration);
}

// What one replica finds trusted, then not, then trusted again, has not been trusted for long.
static void test_trust_interrupted(void **state)
{
	(void)state;
	struct serving_memory memory = {0};
	json_t *secret = secret_of("D", "B", "");
	static const struct {
		const char *bundle;
		int64_t mono_ms;
		enum serving_step step;
	} looks[] = {{"DB", 1, SERVING_KEEP},
				 {"D", 50000, SERVING_KEEP},
				 {"DB", 55000, SERVING_KEEP},
				 {"DB", 114999, SERVING_KEEP},
				 {"DB", 115000, SERVING_PROMOTE}};
	for (size_t i = 0; i < COUNT(looks); i++) {
		struct serving_plan p;
		json_t *configuration = configuration_of("MutatingWebhookConfiguration", looks[i].bundle);
		const struct serving_input in = {&names, LIFE, secret, {configuration, NULL}, NOW, looks[i].mono_ms};
		serving_plan_make(&in, &memory, &p);
		assert_int_equal(p.step, looks[i].step);
		serving_plan_release(&p);
		json_decref(configuration);
	}
	json_decref(secret);
}

// A pair of an admin's, whose CA ends before it: to the API server it has expired then.
static void test_end_of_ca(void **state)
{
	(void)state;
	static const struct {
		int64_t ca_end_s;
		enum serving_step step;
		enum serving_unready unready;
	} ends[] = {{NOW + 80 * DAY, SERVING_KEEP, SERVING_READY}, {NOW - 1, SERVING_MAKE, SERVING_EXPIRED}};
	for (size_t i = 0; i < COUNT(ends); i++) {
		struct pki ca = pki_issue(
			&(struct pki_spec){.name = "ca", .basic = "critical,CA:TRUE", .from = NOW - DAY, .to = ends[i].ca_end_s});
		struct pki leaf = pki_issue(&(struct pki_spec){.name = "leaf",
													   .by = &ca,
													   .san = "DNS:coco-webhook.system.svc,"
															  "DNS:coco-webhook.system.svc.cluster.local,"
															  "DNS:coco-webhook.system,DNS:coco-webhook",
													   .from = NOW - DAY,
													   .to = NOW + 90 * DAY});
		json_t *secret = secret_of("", "", "");
		json_t *data = json_object_get(secret, "data");
		json_put(data, "tls.crt", coded(str_from(leaf.cert_pem)));
		json_put(data, "tls.key", coded(str_from(leaf.key_pem)));
		json_put(data, "ca.crt", coded(str_from(ca.cert_pem)));
		json_t *configuration = configuration_of("MutatingWebhookConfiguration", "");
		json_t *client = json_object_get(json_array_get(json_object_get(configuration, "webhooks"), 0), "clientConfig");
		json_put(client, "caBundle", coded(str_from(ca.cert_pem)));
		struct serving_memory memory = {0};
		struct serving_plan p;
		const struct serving_input in = {&names, LIFE, secret, {configuration, NULL}, NOW, NOW_MS};
		serving_plan_make(&in, &memory, &p);
		assert_int_equal(p.not_after_s, ends[i].ca_end_s);
		assert_int_equal(p.step, ends[i].step);
		assert_int_equal(p.unready, ends[i].unready);
		serving_plan_release(&p);
		json_decref(secret);
		json_decref(configuration);
		pki_release(&leaf);
		pki_release(&ca);
	}
}

static void test_makes_are_forgotten(void **state)
{
	(void)state;
	struct serving_memory m = {0};
	struct serving_input in = {.names = &names, .life_s = LIFE};
	static const struct {
		int64_t ms;
		unsigned makes;
	} notes[] = {{1000, 1}, {2000, 2}, {602000, 3}, {1202001, 1}, {1202002, 2}};
	for (size_t i = 0; i < COUNT(notes); i++) {
		in.now_ms = notes[i].ms;
		serving_memory_note_made(&m, &in);
		assert_int_equal(m.makes, notes[i].makes);
	}
}

// ---- Words

struct life_case {
	const char *name; // the text
	int64_t s;        // 0: refused
};

static struct life_case life_cases[] = {
	{"90", LIFE},       {"90d", LIFE},
	{"12h", 12 * HOUR}, {"30m", 30 * MINUTE},
	{"10s", 10},        {"3650d", 3650 * DAY},
	{"9s", 0},          {"3651d", 0},
	{"0", 0},           {"", 0},
	{"d", 0},           {"-1d", 0},
	{"1.5h", 0},        {"1w", 0},
	{" 1d", 0},         {"99999999999", 0},
	{"1d ", 0},
};

static void test_life(void **state)
{
	const struct life_case *c = *state;
	int64_t s = 0;
	assert_int_equal(serving_life_parse(c->name, &s), c->s != 0 ? 0 : -EINVAL);
	if (c->s != 0)
		assert_int_equal(s, c->s);
}

static void test_texts(void **state)
{
	(void)state;
	for (int i = 0; i < SERVING_UNREADY_REASONS; i++) {
		char *text = serving_unready_text((enum serving_unready)i, &names);
		assert_int_equal(text != NULL, i != SERVING_READY);
		free(text);
	}
}

int main(void)
{
	static struct tests t;
	for (size_t i = 0; i < COUNT(materials); i++)
		make(&materials[i]);
	ADD_TABLE(&t, plan_cases, test_plan);
	ADD_TABLE(&t, patch_cases, test_patch);
	tests_add(&t, "caBundle of each webhook is applied by name", test_apply, NULL);
	tests_add(&t, "a clock that jumps holds nothing up, and hurries nothing", test_clock_jumps, NULL);
	tests_add(&t, "trust that was interrupted counts from its return", test_trust_interrupted, NULL);
	tests_add(&t, "a CA's end is its certificate's", test_end_of_ca, NULL);
	tests_add(&t, "pairs that were made long ago count no more", test_makes_are_forgotten, NULL);
	ADD_TABLE(&t, life_cases, test_life);
	tests_add(&t, "each reason has a text", test_texts, NULL);
	int failed = tests_run("serving plan", &t);
	for (size_t i = 0; i < COUNT(materials); i++)
		release(&materials[i]);
	return failed;
}
