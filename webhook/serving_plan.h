// What the webhook serves with, whom the API server is to trust for it, and what has to be written for that: judged from
// the Secret and the webhook configurations as they are. PURE
//
// The Secret holds the pair in use (tls.crt, tls.key, with its CA in ca.crt), the pair that comes after it
// (next.tls.crt, next.tls.key, next.ca.crt) and the CAs that are still trusted besides (old.ca.crt). All replicas read
// the same Secret, so all want the same bundle. A pair is put to use once its CA is trusted, never before:
//
//   no pair, and nobody is trusted      made as the pair in use
//   a third of its life is left         another is made as the next one, and its CA gets into the bundle
//   the pair in use can't be used       the same, at once; whom the API server trusts now stays trusted
//   every configuration has the bundle, and a while has passed: the next one becomes the pair in use
//
// The bundle is old.ca.crt, ca.crt, next.ca.crt in that order, so it doesn't change with the last step.
#ifndef COCO_WEBHOOK_SERVING_PLAN_H
#define COCO_WEBHOOK_SERVING_PLAN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/error.h"
#include "common/secret_text.h"
#include "webhook/serving_secret.h"

#define SERVING_HOSTS 4 // SERVICE.NS.svc, SERVICE.NS.svc.cluster.local, SERVICE.NS, SERVICE
#define SERVING_LIFE_MIN_S 10
#define SERVING_KEPT_MAX 8        // CAs of others that stay trusted while a damaged Secret is repaired
#define SERVING_LOOK_MAX_MS 60000 // the clock may have been set meanwhile
#define SERVING_MAKE_FIRST_MS 1000
#define SERVING_MAKE_MAX_MS 600000

// How long an API server may take to hear of a bundle, of several that share one etcd; less of a short life.
#define SERVING_SETTLE_MAX_S 60
#define SERVING_SETTLE_PER_LIFE 30
// The same where nothing that is worth waiting for is in use.
#define SERVING_SETTLE_BROKEN 10

enum serving_configuration { SERVING_MUTATING, SERVING_VALIDATING, SERVING_CONFIGURATIONS };

struct serving_names {
	const char *ns, *service, *secret, *configuration; // the latter of both configurations
};

struct serving_input {
	const struct serving_names *names;
	int64_t life_s;                                       // of certificates that are made
	const json_t *secret;                                 // NULL: there is none
	const json_t *configurations[SERVING_CONFIGURATIONS]; // NULL: there is none
	int64_t now_s;                                        // since 1970; may jump
	int64_t now_ms;                                       // monotonic
};

// What a replica remembers from one look to the next; all zero at first.
struct serving_memory {
	char served[SERVING_ID_MAX];  // the certificate that it serves with
	int64_t served_not_after_s;   // of that
	char settled[SERVING_ID_MAX]; // the next certificate, while all configurations have its bundle
	int64_t settled_ms;           // since when
	bool was_ready;
	unsigned makes; // pairs that were made here one soon after the other
	int64_t made_ms;
};

enum serving_step {
	SERVING_KEEP,
	SERVING_MAKE,      // a pair to be used at once
	SERVING_MAKE_NEXT, // the pair that comes after
	SERVING_PROMOTE,   // the next pair becomes the one in use
};

// Why a replica isn't ready.
enum serving_unready {
	SERVING_READY,
	SERVING_UNREAD, // not all is read from the API server yet
	SERVING_NO_SECRET,
	SERVING_NO_PAIR,
	SERVING_NO_CONFIGURATION,
	SERVING_ELSEWHERE_MUTATING, // it calls another Service than the certificate is for
	SERVING_ELSEWHERE_VALIDATING,
	SERVING_UNTRUSTED_MUTATING,
	SERVING_UNTRUSTED_VALIDATING,
	SERVING_EXPIRED,
	SERVING_UNREADY_REASONS,
};

#define SERVING_REMARKS_MAX 8

struct serving_plan {
	// To serve with from now on; not there: with what is served already.
	struct secret_text cert, key;
	char id[SERVING_ID_MAX];
	int64_t not_after_s;

	struct buf bundle;                  // PEM; empty: the configurations are left alone
	bool apply[SERVING_CONFIGURATIONS]; // that one lacks it

	enum serving_step step;
	char *why;       // of the step, for people; NULL for SERVING_KEEP
	struct buf kept; // PEM: what old.ca.crt becomes

	enum serving_unready unready;
	bool trusted;                       // every configuration that is there trusts the pair in use
	char *remarks[SERVING_REMARKS_MAX]; // what somebody has to do something about
	size_t nremarks;
	int64_t again_ms; // when to look again, even if nothing changes
};

// Never fails. What it says of time alone changes is in again_ms; memory is brought up to date.
void serving_plan_make(const struct serving_input *in, struct serving_memory *memory, struct serving_plan *ret)
	__attribute__((nonnull));
void serving_plan_release(struct serving_plan *p) __attribute__((nonnull));
#define CLEANUP_SERVING_PLAN CLEANUP(serving_plan_release)

// A pair that was made for SERVING_MAKE or SERVING_MAKE_NEXT, as PEM.
struct serving_pair {
	struct buf key, cert, ca;
};

// A merge patch that takes the plan's step, and only where the Secret is still the one that was judged. made: NULL for
// SERVING_PROMOTE. New, to be wiped.
json_t *serving_plan_secret_patch(const struct serving_input *in, const struct serving_plan *p,
								  const struct serving_pair *made)
	__attribute__((warn_unused_result, returns_nonnull, nonnull(1, 2)));
// What is to be applied to a configuration, and only where it is still the one that was judged: the bundle, of each of its
// webhooks by name. New.
json_t *serving_plan_bundle_apply(const json_t *configuration, const struct serving_plan *p)
	__attribute__((warn_unused_result, returns_nonnull, nonnull));
// A pair was made and written here: the next one not at once.
void serving_memory_note_made(struct serving_memory *m, const struct serving_input *in) __attribute__((nonnull));

// Of a configuration what is judged and applied, without the rest; takes it, returns a new one.
json_t *serving_configuration_trim(json_t *configuration) __attribute__((warn_unused_result, nonnull));

// The names that a certificate is made for, and has to be good for. New, one after the other.
void serving_hosts(const struct serving_names *names, char *ret[SERVING_HOSTS]) __attribute__((nonnull));
// For /readyz. New; NULL for SERVING_READY.
char *serving_unready_text(enum serving_unready why, const struct serving_names *names) __attribute__((nonnull(2)));
// "90" and "90d" are days; h, m and s count too. -EINVAL: none, or not within SERVING_LIFE_MIN_S and ten years.
int serving_life_parse(const char *text, int64_t *ret_s) __attribute__((warn_unused_result, nonnull));

#endif
