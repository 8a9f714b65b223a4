#include "common/footprint.h"

#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

// What nobody may write to is the same in the file: a page that is used again is found there, mostly in memory still.
// Constants that hold addresses are not among it, as linking wrote those.
static int drop_object(struct dl_phdr_info *object, size_t size, void *ctx)
{
	(void)size;
	(void)ctx;
	const uintptr_t mask = ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
	for (size_t i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &object->dlpi_phdr[i];
		if (part->p_type != PT_LOAD || (part->p_flags & PF_W) != 0)
			continue;
		uintptr_t first = (object->dlpi_addr + part->p_vaddr) & mask;
		uintptr_t end = (object->dlpi_addr + part->p_vaddr + part->p_memsz + ~mask) & mask;
		// Refused where pages are locked into memory, which is fine.
		(void)madvise((void *)first, end - first, MADV_DONTNEED);
	}
	return 0;
}

bool footprint_note(struct footprint *f, bool news)
{
	bool rests = f->due && !news;
	f->due = news;
	if (!rests)
		return false;
	if (!f->dropped || f->repeat)
		(void)dl_iterate_phdr(drop_object, NULL);
	f->dropped = true;
	(void)malloc_trim(0);
	return true;
}
