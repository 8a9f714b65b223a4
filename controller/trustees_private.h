// Shared by trustees.c (the queue, what is remembered) and trustee_pass.c (one pass).
#ifndef COCO_CONTROLLER_TRUSTEES_PRIVATE_H
#define COCO_CONTROLLER_TRUSTEES_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/encode.h"
#include "common/live.h"
#include "controller/remarks.h"
#include "controller/trustees.h"
#include "controller/view.h"

#define VERSION_MAX (2 * DIGEST_MAX + 1)

// What the last status says, for metrics.
struct trustee_told {
	bool known; // there is one
	bool ready, synced;
	int64_t not_after_s; // 0: there is no certificate
};

// What the last pass over a key left. Only the worker that has the key touches it, but for what the lock is for.
struct trustee_state {
	char *key;
	// Of all that the objects of the TrusteeConfig are made of, and of these objects, when they were last in sync; "" where
	// they weren't.
	char version[VERSION_MAX];
	struct remarks remarks; // made at that version
	int64_t not_after_s, look_again_s;
	char *ca;
	bool bad_pair;          // of a KbsConfig without a TrusteeConfig: its certificates aren't fit to be rolled out
	json_t *objects;        // "Kind/name" of what was applied for the TrusteeConfig, but for its endpoint
	json_t *config_maps;    // that aren't ours and are read: names
	int64_t waits_since_ms; // for a namespace's Secrets to be listed; 0: it doesn't
	bool secrets_refused;   // it may not list them: nothing is followed there until it may
	unsigned refusals;      // passes in a row in which something was refused
	json_t *reads;          // "Kind/name" of the Secrets and ConfigMaps that count; with the lock
	bool bindings;          // with the lock
	// With the lock.
	struct trustee_told told;
};

struct trustees {
	struct trustees_config config;
	struct live live;
	struct view *view;
	struct workqueue *queue;
	atomic_bool worked;   // since somebody asked
	pthread_mutex_t lock; // of the rest
	struct trustee_world world;
	bool looked_around;
	struct trustee_state **states;
	size_t nstates;
};

// A status was written, or is right as it is.
void trustee_metrics_told(struct trustees *t, struct trustee_state *state, const struct trustee_told *told)
	__attribute__((nonnull));
// From trustees_write_metrics on t counts, until its stop.
void trustee_metrics_add(struct trustees *t) __attribute__((nonnull));
void trustee_metrics_remove(struct trustees *t) __attribute__((nonnull));

// A Secret or ConfigMap has changed: whoever reads it looks at it again, but for the one with the key `except`, which knows
// (NULL: nobody does).
void trustees_look_at_readers(struct trustees *t, const struct kube_resource *res, const char *ns, const char *name,
							  const char *except) __attribute__((nonnull(1, 2, 3, 4)));

// One pass. tc, kbs: as they are now (new references, taken), at least one of them; NULL for none.
int trustee_pass(struct trustees *t, struct trustee_state *state, json_t *tc, json_t *kbs, struct reconcile_result *ret,
				 struct error *err) __attribute__((warn_unused_result, nonnull(1, 2, 5, 6)));

#endif
