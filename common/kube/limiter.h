// A token bucket: `burst` requests at once, `qps` a second on the long run. PURE
//
// Who takes a token that isn't there yet owes it, and waits as long as it is told: callers are served in the order in
// which they came. Not thread-safe.
#ifndef COCO_COMMON_KUBE_LIMITER_H
#define COCO_COMMON_KUBE_LIMITER_H

#include <stdint.h>

struct limiter {
	double qps, burst;
	double tokens; // below zero: owed
	int64_t at_ms; // when tokens was right
};

// qps above 0, burst at least 1; full.
void limiter_init(struct limiter *l, double qps, int burst, int64_t now_ms) __attribute__((nonnull));
// Takes one token. Returns in how many ms its owner may go on: 0 at once.
int64_t limiter_take(struct limiter *l, int64_t now_ms) __attribute__((nonnull, warn_unused_result));
// Gives one back: its owner doesn't go on.
void limiter_give_back(struct limiter *l) __attribute__((nonnull));

#endif
