#include "common/kube/lines.h"

#include <errno.h>

void lines_release(struct lines *l)
{
	buf_release(&l->rest);
	l->begun = false;
}

static void forget(struct lines *l)
{
	l->begun = false;
	if (l->rest.cap > LINES_KEEP)
		buf_release(&l->rest);
	else
		buf_clear(&l->rest);
}

static int keep(struct lines *l, struct str bytes)
{
	l->begun = true;
	buf_add_str(&l->rest, bytes);
	return buf_ok(&l->rest) ? 0 : -EFBIG;
}

// The event ends with these bytes. One that came whole is handed on without a copy.
static int finish(struct lines *l, struct str bytes, lines_fn fn, void *ctx)
{
	bool copied = l->rest.n > 0;
	if (copied && keep(l, bytes) < 0)
		return -EFBIG;
	struct str event = copied ? buf_str(&l->rest) : bytes;
	if (event.n > l->rest.max)
		return -EFBIG;
	bool more = event.n == 0 || fn(ctx, event);
	forget(l);
	return more ? 0 : -ECANCELED;
}

int lines_feed(struct lines *l, struct str bytes, lines_fn fn, void *ctx)
{
	while (bytes.n > 0) {
		const char *end = memchr(bytes.p, '\n', bytes.n);
		if (end == NULL)
			return keep(l, bytes);
		size_t n = (size_t)(end - bytes.p);
		int rc = finish(l, (struct str){bytes.p, n}, fn, ctx);
		if (rc < 0)
			return rc;
		bytes = (struct str){end + 1, bytes.n - n - 1};
	}
	return 0;
}

int lines_fragment(struct lines *l, struct str bytes, bool first, bool last, lines_fn fn, void *ctx)
{
	if (first == l->begun)
		return -EPROTO;
	return last ? finish(l, bytes, fn, ctx) : keep(l, bytes);
}
