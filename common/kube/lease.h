// Leader election by a Lease (coordination.k8s.io/v1), as client-go does it: another's lease counts as expired when we
// ourselves have seen it unchanged for its duration, whatever times it carries, so that clocks need not agree.
//
// One thread of its own. Losing the lease is final: the program exits, and starts over.
// Metric: leader_election_master_status{name}.
#ifndef COCO_COMMON_KUBE_LEASE_H
#define COCO_COMMON_KUBE_LEASE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/kube/client.h"

#define LEASE_DURATION_MS 15000
#define LEASE_RENEW_MS 10000 // a leader that could not renew for this long has lost
#define LEASE_RETRY_MS 2000
#define LEASE_REQUEST_MS 5000 // one request; less where half of renew_ms is
#define LEASE_RELEASE_MS 3000
#define LEASE_TROUBLE_MS 60000
#define LEASE_HOLDER_MAX 256 // with its NUL; a longer identity is shown cut

// ---- The rule, pure

struct lease_view {
	char resource_version[64]; // of the lease that was seen last; "" before the first
	int64_t seen_ms;           // when it was first seen so, on our clock
	int64_t free_ms;           // when it counts as expired if it stays so; set by LEASE_WAIT
};

enum lease_step {
	LEASE_WAIT,   // another one leads
	LEASE_CREATE, // there is none: write `next`
	LEASE_UPDATE, // ours to renew, or to take: write `next`
};

// lease: as read now, NULL where there is none. Updates view. *ret_next (new, NULL for LEASE_WAIT): what to write,
// resourceVersion included. What others wrote into the object (labels, annotations, other fields) stays.
// A lease without a holder is free: it was released. What can't be read in it counts as held by another, for duration_s.
enum lease_step lease_decide(const json_t *lease, const char *ns, const char *name, const char *identity,
							 int duration_s, int64_t now_ms, int64_t wall_us, struct lease_view *view,
							 json_t **ret_next) __attribute__((nonnull(2, 3, 4, 8, 9)));
// What a leader writes when it stops, so that the next need not wait.
json_t *lease_release(const json_t *lease, int64_t wall_us) __attribute__((warn_unused_result, nonnull));
// The holder as the lease tells it (borrowed); "" where it has none.
const char *lease_holder_of(const json_t *lease) __attribute__((returns_nonnull));

// ---- The thread

struct lease_config {
	struct kube_client *client; // one of its own, so that a busy program's rate limit can't hold a renewal up
	const struct clock *clock;
	const char *ns, *name; // as Kubernetes allows them; copied, as is identity
	const char *identity;  // unique, not empty: host name and a random part; what isn't printable ASCII becomes '?'
	int duration_ms, renew_ms, retry_ms; // 0: the defaults. Falling; the lease carries duration in whole seconds
	// On the thread. started: we lead now. lost: we don't any more, and what only a leader may do must stop at once; it
	// is not called at a stop that was asked for. trouble: a request failed and will be tried again; told once a minute
	// while it fails the same way. That another was faster is no trouble.
	void (*started)(void *ctx);
	void (*lost)(void *ctx, const char *why);
	void (*trouble)(void *ctx, const struct error *err);
	void *ctx;
};

struct lease;

struct lease *lease_start(const struct lease_config *config)
	__attribute__((warn_unused_result, returns_nonnull, nonnull));
// Releases the lease where it is ours, and ends the thread: at most LEASE_REQUEST_MS for a request that is under way, and
// LEASE_RELEASE_MS. Before the client's stop flag is set, which would keep it from releasing. NULL is fine.
void lease_stop(struct lease *l);
// Whether we lead. False too once we could not renew for renew_ms, even where the thread has not come to say so.
bool lease_held(struct lease *l) __attribute__((nonnull));
// Who leads, as last seen; "" where not known. Copied.
void lease_holder(struct lease *l, char *ret, size_t n) __attribute__((nonnull));
void lease_write_metrics(struct buf *out) __attribute__((nonnull));

#endif
