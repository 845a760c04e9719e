/* Blocks; see block.h. */
#include "fan/block.h"

#include "base/count.h"
#include "base/mem.h"

#include <string.h>

static struct count live;

/* The chunk head, right before the events: all digits, with leading zeros. */
static void write_head(char *room, uint32_t n) {
    char *at = room + BLOCK_HEAD;
    *--at = '\n';
    *--at = '\r';
    for (; at > room; n >>= 4) *--at = "0123456789abcdef"[n & 15];
}

struct block *block_new(const char *bytes, uint32_t n) {
    struct block *b = mem_try(sizeof *b + BLOCK_HEAD + n + BLOCK_TAIL + BLOCK_LAST);
    if (!b) return NULL;
    *b = (struct block){.refs = 1, .n = n};
    memcpy(block_bytes(b), bytes, n);
    write_head(b->room, n);
    memcpy(block_bytes(b) + n, "\r\n0\r\n\r\n", BLOCK_TAIL + BLOCK_LAST);
    count_add(&live, 1);
    return b;
}

struct block *block_ref(struct block *b) {
    b->refs++;
    return b;
}

void block_unref(struct block *b) {
    if (--b->refs > 0) return;
    count_add(&live, -1);
    mem_free(b);
}

long block_live(void) {
    return count_sum(&live);
}
