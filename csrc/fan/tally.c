/* Making, counting and adding up; see tally.h. */
#include "fan/tally.h"

#include "base/mem.h"

struct tally *tally_new(struct list *tallies, struct slice channel, struct tally **home) {
    struct tally *t = mem_new(sizeof *t + channel.n);
    memcpy(t->channel, channel.p, channel.n);
    t->channel_n = (uint32_t)channel.n;
    t->home = home;
    if (home) *home = t;
    list_add(tallies, &t->node);
    return t;
}

void tally_part(struct tally *t) {
    if (!t || !t->home) return;
    *t->home = NULL;
    t->home = NULL;
}

void tally_free(struct tally *t) {
    tally_part(t);
    list_remove(&t->node);
    mem_free(t);
}

void tally_lagging(struct tally *t, struct list *tallies, struct lag lag) {
    t->n_lagging++;
    if (lag.events > t->lag.events) t->lag.events = lag.events;
    if (lag.bytes > t->lag.bytes) t->lag.bytes = lag.bytes;
    list_remove(&t->node);
    list_add(tallies->next, &t->node);
}

void tally_add(struct tally_counts *to, const struct tally_counts *counts) {
    to->delivered += counts->delivered;
    to->delivered_bytes += counts->delivered_bytes;
    to->conflated += counts->conflated;
    to->dropped += counts->dropped;
    for (int i = 0; i < RESET_REASONS; i++) to->resets[i] += counts->resets[i];
}

uint64_t tally_resets(const struct tally_counts *counts) {
    uint64_t sum = 0;
    for (int i = 0; i < RESET_REASONS; i++) sum += counts->resets[i];
    return sum;
}
