/* Histograms and rounds; see tally.h. */
#include "tally.h"

static unsigned slot_of(uint64_t value) {
    if (value < HIST_STEPS) return (unsigned)value;
    const unsigned power = 63u - (unsigned)__builtin_clzll(value); /* >= 5 */
    const unsigned step = (unsigned)(value >> (power - 5)) & (HIST_STEPS - 1);
    return (power - 4) * HIST_STEPS + step;
}

/* The middle of a slot. */
static uint64_t value_of(unsigned slot) {
    if (slot < HIST_STEPS) return slot;
    const unsigned power = slot / HIST_STEPS + 4;
    const uint64_t low = (uint64_t)(HIST_STEPS + slot % HIST_STEPS) << (power - 5);
    return low + ((uint64_t)1 << (power - 5)) / 2;
}

void hist_add(struct hist *h, uint64_t value) {
    h->count++;
    h->sum += value;
    h->slots[slot_of(value)]++;
}

void hist_merge(struct hist *into, const struct hist *from) {
    into->count += from->count;
    into->sum += from->sum;
    for (int i = 0; i < HIST_SLOTS; i++) into->slots[i] += from->slots[i];
}

void hist_less(struct hist *from, const struct hist *less) {
    from->count -= less->count;
    from->sum -= less->sum;
    for (int i = 0; i < HIST_SLOTS; i++) from->slots[i] -= less->slots[i];
}

uint64_t hist_quantile(const struct hist *h, double part) {
    if (!h->count) return 0;
    uint64_t rank = (uint64_t)(part * (double)(h->count - 1)) + 1;
    for (unsigned i = 0; i < HIST_SLOTS; i++) {
        if (h->slots[i] >= rank) return value_of(i);
        rank -= h->slots[i];
    }
    return value_of(HIST_SLOTS - 1);
}

void tally_round(struct tally *t, uint64_t n, uint64_t sent_us, uint64_t now_ns) {
    struct round *r = &t->rounds[n % ROUNDS];
    if (r->n != n || !r->count) *r = (struct round){.n = n, .sent_us = sent_us};
    r->count++;
    r->last_ns = now_ns;
    if (n > t->newest_n) t->newest_n = n;
}
