// The objects of a kind that are alive, in the order of their birth: for metrics over all of them. Thread-safe.
#ifndef COCO_COMMON_LIVE_H
#define COCO_COMMON_LIVE_H

#include <pthread.h>
#include <stddef.h>

// Part of each object.
struct live {
	void *object;
	struct live *next;
};

// Static, one for a kind. Who walks over `first` holds the lock meanwhile, so that none of them goes.
struct live_list {
	pthread_mutex_t lock;
	struct live *first;
};

#define LIVE_LIST_INIT                    \
	{                                     \
		.lock = PTHREAD_MUTEX_INITIALIZER \
	}

static inline void live_add(struct live_list *list, struct live *entry, void *object)
{
	entry->object = object;
	entry->next = NULL;
	(void)pthread_mutex_lock(&list->lock);
	struct live **at = &list->first;
	while (*at != NULL)
		at = &(*at)->next;
	*at = entry;
	(void)pthread_mutex_unlock(&list->lock);
}

static inline void live_remove(struct live_list *list, struct live *entry)
{
	(void)pthread_mutex_lock(&list->lock);
	struct live **at = &list->first;
	while (*at != NULL && *at != entry)
		at = &(*at)->next;
	if (*at != NULL)
		*at = entry->next;
	(void)pthread_mutex_unlock(&list->lock);
}

#endif
