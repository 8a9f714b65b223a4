// How long to wait before the next try: doubled each time up to a limit, with jitter, so that a thousand clients that
// were cut off together don't come back together. PURE
#ifndef COCO_COMMON_KUBE_BACKOFF_H
#define COCO_COMMON_KUBE_BACKOFF_H

#include <stdint.h>

struct backoff {
	int64_t first_ms, max_ms;
	unsigned tries;  // so far without success
	uint64_t random; // state of the jitter; any seed but 0
};

// The next wait: first_ms * 2^tries, at most max_ms, of which the upper half is drawn at random.
int64_t backoff_next_ms(struct backoff *b) __attribute__((nonnull));
static inline void backoff_reset(struct backoff *b)
{
	b->tries = 0;
}
// A seed that differs between processes and calls (getrandom); the one impure part.
uint64_t backoff_seed(void);
// A number in [low, high), from the same state.
int64_t backoff_between(struct backoff *b, int64_t low, int64_t high) __attribute__((nonnull));

#endif
