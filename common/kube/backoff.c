#include "common/kube/backoff.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>

// A counter that is stirred (splitmix64): plenty for jitter, and no state is a bad one.
static uint64_t draw(uint64_t *state)
{
	*state += UINT64_C(0x9E3779B97F4A7C15);
	uint64_t v = *state;
	v = (v ^ v >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	v = (v ^ v >> 27) * UINT64_C(0x94D049BB133111EB);
	return v ^ v >> 31;
}

int64_t backoff_between(struct backoff *b, int64_t low, int64_t high)
{
	if (high <= low)
		return low;
	uint64_t width = (uint64_t)high - (uint64_t)low;
	return (int64_t)((uint64_t)low + draw(&b->random) % width);
}

int64_t backoff_next_ms(struct backoff *b)
{
	int64_t full = b->first_ms;
	for (unsigned i = 0; i < b->tries && full < b->max_ms; i++)
		full = full > b->max_ms / 2 ? b->max_ms : full * 2;
	if (full > b->max_ms)
		full = b->max_ms;
	if (full < b->max_ms)
		b->tries++; // no further: at the limit there is nothing to count
	return backoff_between(b, full / 2, full + 1);
}

uint64_t backoff_seed(void)
{
	static _Atomic uint64_t calls;
	uint64_t seed = 0;
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) == (ssize_t)sizeof(seed) && seed != 0)
		return seed;
	// Too early in the machine's life, or a kernel's filter: what every process is given at its start.
	const void *given = (const void *)getauxval(AT_RANDOM);
	if (given != NULL)
		memcpy(&seed, given, sizeof(seed));
	seed += atomic_fetch_add(&calls, 1);
	return seed != 0 ? seed : 1;
}
