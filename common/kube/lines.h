// Cuts what a watch stream brings into its events: the lines of a plain HTTP answer, which come in pieces of any size, or
// the messages of a WebSocket, which come in fragments. Bounded. PURE
#ifndef COCO_COMMON_KUBE_LINES_H
#define COCO_COMMON_KUBE_LINES_H

#include <stdbool.h>

#include "common/buf.h"

#define LINES_KEEP ((size_t)64 * 1024) // memory that stays between events; what a larger one took is given back

// The event that has begun. One stream has either lines or fragments, never both.
struct lines {
	struct buf rest;
	bool begun;
};

// max: the largest event.
#define LINES_INIT(max) ((struct lines){.rest = BUF_INIT(max)})
void lines_release(struct lines *l) __attribute__((nonnull));

// Is given each whole event, borrowed for the call. false: no further one is wanted.
typedef bool (*lines_fn)(void *ctx, struct str event);

// The next bytes of a plain answer. Empty lines are no events. 0; -EFBIG: an event passes the maximum; -ECANCELED: fn
// returned false. After an error nothing more may be fed.
int lines_feed(struct lines *l, struct str bytes, lines_fn fn, void *ctx)
	__attribute__((warn_unused_result, nonnull(1, 3)));
// The next fragment of a message, the first and the last of which are said to be so. Empty messages are no events.
// -EPROTO also where a message begins in the middle of another, or goes on without having begun.
int lines_fragment(struct lines *l, struct str bytes, bool first, bool last, lines_fn fn, void *ctx)
	__attribute__((warn_unused_result, nonnull(1, 5)));

// Whether an event has begun and not ended.
static inline bool lines_partial(const struct lines *l)
{
	return l->begun;
}

#endif
