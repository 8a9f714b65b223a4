// However a stream is cut into pieces, its events are the same as of all of it at once; and fragments are put together
// again. The first byte is the largest event, the second the cuts.
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/kube/lines.h"

#define OUT_MAX ((size_t)1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(int ok, const char *what)
{
	if (ok)
		return;
	(void)fprintf(stderr, "%s\n", what);
	abort();
}

static bool note(void *ctx, struct str event)
{
	must(event.n > 0, "an empty event");
	buf_add_str(ctx, event);
	buf_addc(ctx, '\n');
	return true;
}

// What lines_feed() should do, said in another way.
static int expect(struct str text, size_t max, struct buf *out, bool *ret_partial)
{
	size_t start = 0;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '\n') {
			if (i > start)
				(void)note(out, (struct str){text.p + start, i - start});
			start = i + 1;
		} else if (i - start == max) {
			return -EFBIG;
		}
	}
	*ret_partial = start < text.n;
	return 0;
}

static void check_lines(struct str text, size_t max, unsigned cut)
{
	CLEANUP_BUF struct buf want = BUF_INIT(OUT_MAX);
	CLEANUP_BUF struct buf got = BUF_INIT(OUT_MAX);
	CLEANUP(lines_release) struct lines l = LINES_INIT(max);
	bool partial = false;
	int want_rc = expect(text, max, &want, &partial);
	int rc = 0;
	for (size_t at = 0; rc == 0 && at < text.n;) {
		size_t piece = 1 + (at * 7 + cut) % (1 + cut);
		piece = piece < text.n - at ? piece : text.n - at;
		rc = lines_feed(&l, (struct str){text.p + at, piece}, note, &got);
		at += piece;
	}
	must(rc == want_rc, "another result");
	must(str_eq(buf_str(&want), buf_str(&got)), "other events");
	must(rc < 0 || lines_partial(&l) == partial, "another rest");
}

// All of the text as one message; a cut of 0 makes empty fragments at its start and end.
static void check_fragments(struct str text, size_t max, unsigned cut)
{
	CLEANUP_BUF struct buf got = BUF_INIT(OUT_MAX);
	CLEANUP(lines_release) struct lines l = LINES_INIT(max);
	size_t size = cut > 0 ? cut : text.n + 1;
	int rc = cut > 0 ? 0 : lines_fragment(&l, STR(""), true, false, note, &got);
	for (size_t at = 0; rc == 0 && at < text.n; at += size) {
		size_t piece = size < text.n - at ? size : text.n - at;
		bool last = cut > 0 && at + piece == text.n;
		rc = lines_fragment(&l, (struct str){text.p + at, piece}, !lines_partial(&l), last, note, &got);
	}
	if (rc == 0 && cut == 0)
		rc = lines_fragment(&l, STR(""), false, true, note, &got);
	must(rc == (text.n > max ? -EFBIG : 0), "another result of fragments");
	must(rc < 0 || text.n == 0 || (got.n == text.n + 1 && memcmp(got.p, text.p, text.n) == 0), "another message");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n < 2)
		return 0;
	struct str text = {(const char *)data + 2, n - 2};
	check_lines(text, data[0], data[1]);
	check_fragments(text, data[0], data[1]);
	return 0;
}
