/* A pool: objects of one size, carved from slabs.
 *
 * What lives as long as a stream does stands apart from what is allocated and freed
 * around it, and has no allocator's header. What is as large as a cache line begins at one,
 * or in the middle of one. Slabs go when the pool goes; until then what was freed serves the
 * next. Under the address sanitizer every object is an allocation of its own. [one thread]
 */
#ifndef SLUICE_BASE_POOL_H
#define SLUICE_BASE_POOL_H

#include <stddef.h>

#define POOL_LINE 64

struct pool {
    size_t size;
    void *free;  /* a chain through the first word of each */
    void *slabs; /* likewise */
};

void pool_init(struct pool *p, size_t size);
void pool_deinit(struct pool *p);             /* all objects must have been freed */
void *pool_new(struct pool *p);               /* zeroed, owned; as mem_new */
void pool_free(struct pool *p, void *object); /* takes */

#endif
