/* A pool: objects of one size, carved from slabs.
 *
 * What lives as long as a stream does stands apart from what is allocated and freed
 * around it, and has no allocator's header. What is as large as a cache line begins at one,
 * or in the middle of one. A slab takes memory as far as it was used; slabs go when the pool
 * goes, until then what was freed serves the next. Under the address sanitizer every object is
 * an allocation of its own. [one thread] */
#ifndef SLUICE_BASE_POOL_H
#define SLUICE_BASE_POOL_H

#include <stddef.h>

#define POOL_LINE 64

struct pool {
    size_t size;
    void *free;        /* a chain through the first word of each */
    char *fresh, *end; /* of the newest slab: what was not used yet */
    void *slabs;       /* a chain through the first word of each */
};

void pool_init(struct pool *p, size_t size);
void pool_deinit(struct pool *p);             /* all objects must have been freed */
void *pool_new(struct pool *p);               /* zeroed, owned; as mem_new */
void pool_free(struct pool *p, void *object); /* takes */

#define POOLS_STEP sizeof(void *)
#define POOLS_BYTES_MAX 256

/* The same for objects of several sizes, as those that end with a text. Larger ones than
 * POOLS_BYTES_MAX stand alone. */
struct pools {
    struct pool of_size[POOLS_BYTES_MAX / POOLS_STEP];
};

void pools_init(struct pools *ps);
void pools_deinit(struct pools *ps);
void *pools_new(struct pools *ps, size_t size);
void pools_free(struct pools *ps, void *object, size_t size); /* the same size; takes */

#endif
