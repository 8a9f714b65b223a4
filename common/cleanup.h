// Scope-bound release: declare with CLEANUP(fn), return early, hand out with TAKE_PTR.
#ifndef COCO_COMMON_CLEANUP_H
#define COCO_COMMON_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))

// Gives the pointer away and leaves NULL behind, so that the variable's cleanup does nothing.
#define TAKE_PTR(p)                              \
	({                                           \
		__typeof__(p) *take_slot_ = &(p);        \
		__typeof__(p) take_value_ = *take_slot_; \
		*take_slot_ = NULL;                      \
		take_value_;                             \
	})

static inline void cleanup_free(void *slot)
{
	free(*(void **)slot);
}

static inline void cleanup_fclose(FILE **f)
{
	if (*f != NULL)
		(void)fclose(*f);
}

static inline void cleanup_close(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

#define CLEANUP_FREE CLEANUP(cleanup_free)
#define CLEANUP_FCLOSE CLEANUP(cleanup_fclose)
#define CLEANUP_CLOSE CLEANUP(cleanup_close)

#endif
