// What time it is, as a parameter: who waits or expires takes a clock, so that tests can move it.
#ifndef COCO_COMMON_CLOCK_H
#define COCO_COMMON_CLOCK_H

#include <stdint.h>

struct clock {
	int64_t (*mono_ms)(void *ctx); // for durations: never set back
	int64_t (*wall_ms)(void *ctx); // since 1970, for what others read
	void *ctx;
};

// The machine's.
extern const struct clock clock_real;

static inline int64_t clock_mono_ms(const struct clock *c)
{
	return c->mono_ms(c->ctx);
}

static inline int64_t clock_wall_ms(const struct clock *c)
{
	return c->wall_ms(c->ctx);
}

#define CLOCK_TEXT_MAX 32

// "2026-01-02T03:04:05.000006Z" with micros, "2026-01-02T03:04:05Z" without, into text; pure
void clock_text(int64_t wall_us, int micros, char text[CLOCK_TEXT_MAX]) __attribute__((nonnull));
// An RFC 3339 time with any offset and fraction, in microseconds since 1970; -EINVAL where it is none.
int clock_parse(const char *text, int64_t *ret_wall_us) __attribute__((warn_unused_result, nonnull));

#endif
