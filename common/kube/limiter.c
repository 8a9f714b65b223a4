#include "common/kube/limiter.h"

#include <math.h>

void limiter_init(struct limiter *l, double qps, int burst, int64_t now_ms)
{
	*l = (struct limiter){.qps = qps, .burst = burst, .tokens = burst, .at_ms = now_ms};
}

int64_t limiter_take(struct limiter *l, int64_t now_ms)
{
	// Two threads may read the clock in one order and come here in the other.
	if (now_ms > l->at_ms) {
		l->tokens = fmin(l->burst, l->tokens + (double)(now_ms - l->at_ms) * l->qps / 1000);
		l->at_ms = now_ms;
	}
	l->tokens -= 1;
	return l->tokens >= 0 ? 0 : (int64_t)ceil(-l->tokens * 1000 / l->qps);
}

void limiter_give_back(struct limiter *l)
{
	l->tokens = fmin(l->burst, l->tokens + 1);
}
