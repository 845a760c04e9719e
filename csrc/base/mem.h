/* Memory: the one place that calls the allocator.
 *
 * mem_new is for our own small structs: it never returns NULL (the process ends with a
 * line on stderr). mem_try is for every size that a peer controls: it returns NULL, also
 * where a spec wants it to (fault.h). Both count what is alive. [any thread] */
#ifndef SLUICE_BASE_MEM_H
#define SLUICE_BASE_MEM_H

#include <stddef.h>

void *mem_new(size_t size);                 /* zeroed, owned; aborts when out of memory */
void *mem_try(size_t size);                 /* not zeroed, owned, or NULL */
void *mem_resize(void *p, size_t size);     /* takes p; on NULL p is still owned */
char *mem_strndup(const char *p, size_t n); /* NUL-terminated copy, as mem_new */
void mem_free(void *p);                     /* takes; NULL is fine */

/* Whole pages, zeroed, beside nothing else (owned; as mem_new, but not counted). */
void *mem_pages(size_t size);
void mem_free_pages(void *p, size_t size); /* takes */

/* Give free pages back to the system, where the C library can. Takes about a millisecond
 * for every ten megabytes that were in use. */
void mem_give_back(void);

/* Blocks that are alive now. */
long mem_live(void);

/* Of a large local that is written before it is read: it does not begin with zeros, as the others
 * do (HARDEN in the Makefile). */
#if __has_attribute(uninitialized)
#define UNSET __attribute__((uninitialized))
#else
#define UNSET
#endif

#endif
