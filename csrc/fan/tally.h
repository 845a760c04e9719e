/* Tallies: what happened on the channels of one thread since the app was last told.
 *
 * Counting is a plain addition where something happens. The first count of a channel makes
 * its tally, which hangs at the channel and waits in the fan's list until the worker hands
 * it to the app (serve/report.h); the app adds it up and frees it. So a quiet channel costs
 * a pointer, and a tally outlives a channel that goes before it was told. [one thread] */
#ifndef SLUICE_FAN_TALLY_H
#define SLUICE_FAN_TALLY_H

#include "fan/fan.h"

struct tally_counts {
    uint64_t delivered, delivered_bytes; /* events handed to the sockets of subscribers */
    uint64_t conflated; /* values that newer ones replaced before a subscriber's turn */
    uint64_t dropped;   /* events that slow subscribers lost, and were told so */
    uint64_t resets[RESET_REASONS]; /* by reason */
};

/* What somebody still has to be sent. */
struct lag {
    uint64_t events, bytes;
};

struct tally {
    struct list node;  /* in fan->tallies */
    struct chan *chan; /* NULL: it is gone, or the tally was told */
    struct tally_counts counts;
    struct lag lag;  /* the greatest of those behind, when the app is told */
    uint32_t behind; /* how many those are */
    uint32_t channel_n;
    char channel[];
};

/* Make the tally of a channel; of one that this thread does not hold, when 'c' is NULL. */
struct tally *tally_new(struct fan *fan, struct slice channel, struct chan *c);
void tally_free(struct tally *t); /* takes it out of its list */

/* The channel goes, or the tally does: they part. */
void tally_part(struct tally *t); /* NULL is fine */

/* Where to count what happened on a channel. */
static inline struct tally *tally_of(struct fan *fan, struct chan *c) {
    return c->tally ? c->tally : tally_new(fan, c->node.key, c);
}

/* A subscriber was told that it lost something. */
void tally_reset(struct fan *fan, struct slice channel, enum reset_reason reason);

/* A subscriber of the channel is behind: first in the list, so that it is surely told. */
struct tally *tally_behind(struct fan *fan, struct chan *c, struct lag lag);

void tally_add(struct tally_counts *to, const struct tally_counts *counts);
uint64_t tally_resets(const struct tally_counts *counts); /* of all reasons */

#endif
