// Memory that was needed for a moment only, given back once a program has come to rest: pages of libraries that only
// their linking and start touched (half of what a program of ours has resident then), and memory free in the heap. A
// tracer's breakpoints in code (uprobes) that were set before go with the pages.
//
// Not thread-safe: one thread, the program's loop, calls it; the others may run on meanwhile.
#ifndef COCO_COMMON_FOOTPRINT_H
#define COCO_COMMON_FOOTPRINT_H

#include <stdbool.h>

// All zero at first, but for what is asked for.
struct footprint {
	bool repeat; // give pages of libraries back at each rest, not only after the start: for programs that rest for long
	bool due;    // something was built since memory was given back
	bool dropped; // the start's pages were
};

// At each look of the program's loop. news: something large was built in it. Gives memory back at the first look after
// that brings no news. true where it did.
bool footprint_note(struct footprint *f, bool news) __attribute__((nonnull));

#endif
