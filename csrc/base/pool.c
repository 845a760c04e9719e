/* Slabs and a chain of free objects; see pool.h. */
#include "base/pool.h"

#include "base/mem.h"

#include <assert.h>
#include <string.h>

#define SLAB_BYTES 65536

void pool_init(struct pool *p, size_t size) {
    size_t step = size < POOL_LINE ? sizeof(void *) : POOL_LINE / 2;
    *p = (struct pool){.size = (size + step - 1) / step * step};
}

#ifdef __SANITIZE_ADDRESS__

void pool_deinit(struct pool *p) {
    (void)p;
}

void *pool_new(struct pool *p) {
    return mem_new(p->size);
}

void pool_free(struct pool *p, void *object) {
    (void)p;
    mem_free(object);
}

#else

static void push(void **chain, void *object) {
    *(void **)object = *chain;
    *chain = object;
}

static void *pop(void **chain) {
    void *object = *chain;
    if (object) *chain = *(void **)object;
    return object;
}

void pool_deinit(struct pool *p) {
    for (void *slab; (slab = pop(&p->slabs));) mem_free_pages(slab, SLAB_BYTES);
    p->free = NULL;
    p->fresh = p->end = NULL;
}

/* Its first line has the chain. */
static void add_slab(struct pool *p) {
    char *slab = mem_pages(SLAB_BYTES);
    push(&p->slabs, slab);
    p->fresh = slab + POOL_LINE;
    p->end = slab + SLAB_BYTES;
}

void *pool_new(struct pool *p) {
    void *object = pop(&p->free);
    if (!object) {
        if ((size_t)(p->end - p->fresh) < p->size) add_slab(p);
        object = p->fresh;
        p->fresh += p->size;
    }
    return memset(object, 0, p->size);
}

void pool_free(struct pool *p, void *object) {
    push(&p->free, object);
}

#endif

/* ---- Of several sizes --------------------------------------------------------------- */

void pools_init(struct pools *ps) {
    for (size_t i = 0; i < sizeof ps->of_size / sizeof *ps->of_size; i++)
        ps->of_size[i] = (struct pool){.size = (i + 1) * POOLS_STEP};
}

void pools_deinit(struct pools *ps) {
    for (size_t i = 0; i < sizeof ps->of_size / sizeof *ps->of_size; i++)
        pool_deinit(&ps->of_size[i]);
}

static struct pool *pool_of(struct pools *ps, size_t size) {
    return &ps->of_size[(size - 1) / POOLS_STEP];
}

void *pools_new(struct pools *ps, size_t size) {
    assert(size > 0);
    return size > POOLS_BYTES_MAX ? mem_new(size) : pool_new(pool_of(ps, size));
}

void pools_free(struct pools *ps, void *object, size_t size) {
    if (size > POOLS_BYTES_MAX) mem_free(object);
    else pool_free(pool_of(ps, size), object);
}
