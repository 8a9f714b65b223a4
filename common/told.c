#include "common/told.h"

bool told_due(struct told *t, const char *text, int64_t now_ms)
{
	(void)pthread_mutex_lock(&t->lock);
	const json_t *last = json_object_get(t->when, text);
	bool due = last == NULL || now_ms - json_integer_value(last) >= TOLD_EVERY_MS;
	if (due && json_object_size(t->when) >= TOLD_MAX)
		(void)json_object_clear(t->when);
	if (due && t->when == NULL)
		t->when = json_object();
	if (due)
		(void)json_object_set_new(t->when, text, json_integer(now_ms));
	(void)pthread_mutex_unlock(&t->lock);
	return due;
}

void told_release(struct told *t)
{
	json_decref(t->when);
	t->when = NULL;
}
