// A clock that stands still until a test moves it.
#ifndef COCO_TESTS_UNIT_FAKE_CLOCK_H
#define COCO_TESTS_UNIT_FAKE_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/clock.h"

struct fake_clock {
	_Atomic int64_t mono, wall; // in milliseconds
};

static inline int64_t fake_mono_ms(void *ctx)
{
	return atomic_load(&((struct fake_clock *)ctx)->mono);
}

static inline int64_t fake_wall_ms(void *ctx)
{
	return atomic_load(&((struct fake_clock *)ctx)->wall);
}

// Borrows f.
static inline struct clock fake_clock(struct fake_clock *f)
{
	return (struct clock){fake_mono_ms, fake_wall_ms, f};
}

static inline void fake_clock_pass(struct fake_clock *f, int64_t ms)
{
	atomic_fetch_add(&f->mono, ms);
	atomic_fetch_add(&f->wall, ms);
}

#endif
