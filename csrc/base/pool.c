/* Slabs and a chain of free objects; see pool.h. */
#include "base/pool.h"

#include "base/mem.h"

#include <stdint.h>
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
    for (void *slab; (slab = pop(&p->slabs));) mem_free(slab);
    p->free = NULL;
}

/* Its first word is the chain's; the objects fill it from the end. */
static void add_slab(struct pool *p) {
    char *slab = mem_new(SLAB_BYTES);
    push(&p->slabs, slab);
    char *at = slab + SLAB_BYTES - ((uintptr_t)slab + SLAB_BYTES) % POOL_LINE;
    while ((at -= p->size) >= slab + sizeof(void *)) push(&p->free, at);
}

void *pool_new(struct pool *p) {
    if (!p->free) add_slab(p);
    return memset(pop(&p->free), 0, p->size);
}

void pool_free(struct pool *p, void *object) {
    push(&p->free, object);
}

#endif
