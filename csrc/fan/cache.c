/* Finding and replacing; see cache.h. */
#include "fan/cache.h"

#include "base/planted.h"

#include <stddef.h>

static bool is_at(const struct cache_entry *entry, const struct cache_span *spans,
                  uint32_t n, uint64_t shape) {
    if (!entry->block || entry->n != n || entry->shape != shape) return false;
    for (uint32_t i = 0; i < n; i++)
        if ((entry->spans[i].audience != spans[i].audience && !PLANTED(8)) ||
            entry->spans[i].first != spans[i].first ||
            entry->spans[i].upto != spans[i].upto)
            return false;
    return true;
}

const struct cache_entry *cache_find(struct cache *c, const struct cache_span *spans,
                                     uint32_t n, uint64_t shape) {
    if (is_at(&c->entries[c->hot], spans, n, shape)) return &c->entries[c->hot];
    for (uint32_t i = 0; i < CACHE_BLOCKS; i++) {
        if (!is_at(&c->entries[i], spans, n, shape)) continue;
        c->hot = i;
        return &c->entries[i];
    }
    return NULL;
}

struct cache_entry *cache_add(struct cache *c) {
    c->hot = c->next++ % CACHE_BLOCKS;
    struct cache_entry *entry = &c->entries[c->hot];
    if (entry->block) block_unref(entry->block);
    *entry = (struct cache_entry){0};
    return entry;
}

void cache_clear(struct cache *c) {
    for (uint32_t i = 0; i < CACHE_BLOCKS && i < c->next; i++) {
        if (c->entries[i].block) block_unref(c->entries[i].block);
        c->entries[i].block = NULL;
    }
    c->next = 0; /* the entries are filled from the first on */
}
