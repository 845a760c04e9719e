/* Making, counting and adding up; see tally.h. */
#include "fan/tally.h"

#include "base/mem.h"

struct tally *tally_new(struct fan *fan, struct slice channel, struct chan *c) {
    struct tally *t = mem_new(sizeof *t + channel.n);
    memcpy(t->channel, channel.p, channel.n);
    t->channel_n = (uint32_t)channel.n;
    t->chan = c;
    if (c) c->tally = t;
    list_add(&fan->tallies, &t->node);
    return t;
}

void tally_part(struct tally *t) {
    if (!t || !t->chan) return;
    t->chan->tally = NULL;
    t->chan = NULL;
}

void tally_free(struct tally *t) {
    tally_part(t);
    list_remove(&t->node);
    mem_free(t);
}

void tally_reset(struct fan *fan, struct slice channel, enum reset_reason reason) {
    struct chan *c = fan_find(fan, channel);
    struct tally *t = c ? tally_of(fan, c) : tally_new(fan, channel, NULL);
    t->counts.resets[reason]++;
}

struct tally *tally_behind(struct fan *fan, struct chan *c, struct lag lag) {
    struct tally *t = tally_of(fan, c);
    t->behind++;
    if (lag.events > t->lag.events) t->lag.events = lag.events;
    if (lag.bytes > t->lag.bytes) t->lag.bytes = lag.bytes;
    list_remove(&t->node);
    list_add(fan->tallies.next, &t->node);
    return t;
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
