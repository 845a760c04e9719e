/* Blocks; see block.h. */
#include "fan/block.h"

#include "base/mem.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static atomic_long live;

struct block *block_new(const char *bytes, uint32_t n) {
    struct block *b = mem_try(sizeof *b + BLOCK_HEAD + n + BLOCK_TAIL + BLOCK_LAST);
    if (!b) return NULL;
    *b = (struct block){.refs = 1, .n = n};
    memcpy(block_bytes(b), bytes, n);
    /* The chunk head stands right before the events, its unused room in front of it. */
    char head[BLOCK_HEAD + 1];
    snprintf(head, sizeof head, "%06x\r\n", n);
    memcpy(b->room, head, BLOCK_HEAD);
    memcpy(block_bytes(b) + n, "\r\n0\r\n\r\n", BLOCK_TAIL + BLOCK_LAST);
    atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    return b;
}

struct block *block_ref(struct block *b) {
    b->refs++;
    return b;
}

void block_unref(struct block *b) {
    if (--b->refs > 0) return;
    atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    mem_free(b);
}

long block_live(void) {
    return atomic_load(&live);
}
