#include "common/catalog_store.h"

struct catalog *catalog_store_get(struct catalog_store *s)
{
	(void)pthread_mutex_lock(&s->lock);
	struct catalog *c = s->current != NULL ? catalog_ref(s->current) : NULL;
	(void)pthread_mutex_unlock(&s->lock);
	return c;
}

void catalog_store_put(struct catalog_store *s, struct catalog *c)
{
	(void)pthread_mutex_lock(&s->lock);
	struct catalog *old = s->current;
	s->current = c;
	(void)pthread_mutex_unlock(&s->lock);
	catalog_unref(old);
}
