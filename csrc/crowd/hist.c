/* Rows: the first 128 are a microsecond wide, each 64 after them twice as wide as the 64 before;
 * see hist.h. */
#include "crowd/hist.h"

#include <stddef.h>

static size_t row_of(uint64_t us) {
    unsigned shift = 0;
    if (us >> HIST_BITS) us = ((uint64_t)1 << HIST_BITS) - 1;
    if (us >= 2 * HIST_STEPS) shift = 63 - (unsigned)__builtin_clzll(us) - 6;
    return HIST_STEPS * shift + (us >> shift);
}

/* The middle of a row. */
static uint64_t time_of(size_t row) {
    if (row < 2 * HIST_STEPS) return row;
    unsigned shift = (unsigned)(row / HIST_STEPS) - 1;
    return ((row - HIST_STEPS * shift) << shift) + ((uint64_t)1 << shift) / 2;
}

void hist_add(struct hist *h, uint64_t us) {
    h->n++;
    if (us > h->max) h->max = us;
    h->counts[row_of(us)]++;
}

uint64_t hist_quantile(const struct hist *h, double part) {
    uint64_t wanted = (uint64_t)(part * (double)h->n + 0.5), seen = 0;
    if (h->n == 0) return 0;
    if (wanted < 1) wanted = 1;
    for (size_t row = 0; row < sizeof h->counts / sizeof *h->counts; row++) {
        seen += h->counts[row];
        if (seen >= wanted) return time_of(row) < h->max ? time_of(row) : h->max;
    }
    return h->max;
}
