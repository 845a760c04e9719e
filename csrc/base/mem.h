/* Memory: the one place that calls the allocator.
 *
 * mem_new is for our own small structs: it never returns NULL (the process ends with a
 * line on stderr). mem_try is for every size that a peer controls: it returns NULL.
 * Both count what is alive and both can be told to fail, so that a spec can fail each
 * allocation of an operation once. [any thread] */
#ifndef SLUICE_BASE_MEM_H
#define SLUICE_BASE_MEM_H

#include <stddef.h>

void *mem_new(size_t size);                 /* zeroed, owned; aborts when out of memory */
void *mem_try(size_t size);                 /* not zeroed, owned, or NULL */
void *mem_resize(void *p, size_t size);     /* takes p; on NULL p is still owned */
char *mem_strndup(const char *p, size_t n); /* NUL-terminated copy, as mem_new */
void mem_free(void *p);                     /* takes; NULL is fine */

/* Give free pages back to the system, where the C library can. Takes about a millisecond
 * for every ten megabytes that were in use. */
void mem_give_back(void);

/* Blocks that are alive now. */
long mem_live(void);

/* Let the n-th mem_try or mem_resize from now fail (1 = the next; 0 = none). With
 * 'ever', all later ones fail as well. For specs only. */
void mem_fail_after(long n, int ever);

/* How many from now the one that fails is; 0: none will, or it has. */
long mem_fail_left(void);

#endif
