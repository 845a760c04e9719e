/* Pools by size in one region; see heap.h. */
#include "bind/heap.h"

#include "base/bounds.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define SLAB_BYTES 65536
#define STEP 16 /* of sizes, up to SMALL; beyond it LARGER_STEP */
#define SMALL 256
#define LARGER_STEP 128
#define LARGEST 2048
#define SIZES (SMALL / STEP + (LARGEST - SMALL) / LARGER_STEP)

struct size {
    void *free;        /* a chain through the first word of each */
    char *fresh, *end; /* of the newest slab: what was not used yet */
};

static struct {
    char *base, *fresh; /* the region, and its slabs that were not used yet */
    struct size sizes[SIZES];
    lua_Alloc below;
    void *below_ud;
} heap;

static size_t size_index(size_t n) {
    if (n <= SMALL) return (n - 1) / STEP;
    return SMALL / STEP + (n - SMALL - 1) / LARGER_STEP;
}

static size_t size_bytes(size_t index) {
    size_t small = SMALL / STEP;
    if (index < small) return (index + 1) * STEP;
    return SMALL + (index - small + 1) * LARGER_STEP;
}

static bool is_pooled(const void *p) {
    return p && (uintptr_t)p - (uintptr_t)heap.base < HEAP_POOLED;
}

/* NULL: the region is full. */
static void *carve(struct size *s, size_t bytes) {
    if ((size_t)(s->end - s->fresh) < bytes) {
        if (heap.fresh == heap.base + HEAP_POOLED) return NULL;
        s->fresh = heap.fresh;
        s->end = heap.fresh += SLAB_BYTES;
    }
    char *p = s->fresh;
    s->fresh += bytes;
    return p;
}

static void *take(size_t n) {
    size_t index = size_index(n);
    struct size *s = &heap.sizes[index];
    void *p = s->free;
    if (!p) return carve(s, size_bytes(index));
    s->free = *(void **)p;
    return p;
}

static void give(void *p, size_t n) {
    struct size *s = &heap.sizes[size_index(n)];
    *(void **)p = s->free;
    s->free = p;
}

/* As lua_Alloc: 'old' is a size only where there is an object. What shrinks never fails. */
static void *allocate(void *ud, void *p, size_t old, size_t n) {
    (void)ud;
    bool pooled = is_pooled(p);
    if (p && !pooled) return heap.below(heap.below_ud, p, old, n);
    if (n == 0) {
        if (pooled) give(p, old);
        return NULL;
    }
    if (pooled && n <= LARGEST && size_index(old) == size_index(n)) return p;
    void *q = n <= LARGEST ? take(n) : NULL;
    if (!q) q = heap.below(heap.below_ud, NULL, p ? 0 : old, n);
    if (!pooled) return q;
    if (!q) return n <= old ? p : NULL;
    memcpy(q, p, old < n ? old : n);
    give(p, old);
    return q;
}

void heap_pool(lua_State *L) {
#ifndef __SANITIZE_ADDRESS__
    if (heap.base) return;
    heap.base = heap.fresh = mem_pages(HEAP_POOLED);
    heap.below = lua_getallocf(L, &heap.below_ud);
    lua_setallocf(L, allocate, NULL);
#else
    (void)L, (void)allocate;
#endif
}
