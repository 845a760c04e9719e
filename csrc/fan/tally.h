/* Tallies: what happened on the channels of one thread since the last report to the app.
 *
 * Counting is a plain addition where something happens. The first count of a channel makes
 * its tally, which the channel points at (chan_tally) and which waits in the fan's list until
 * the worker hands it to the app (serve/report.h); the app adds it up and frees it. So a
 * channel without news costs a pointer, and a tally outlives a channel that goes before the report.
 * [one thread] */
#ifndef SLUICE_FAN_TALLY_H
#define SLUICE_FAN_TALLY_H

#include "base/list.h"
#include "base/slice.h"
#include "fan/reason.h"

struct tally_counts {
    uint64_t delivered, delivered_bytes; /* events handed to the sockets of subscribers */
    uint64_t conflated; /* values that newer ones replaced before a subscriber's turn */
    uint64_t dropped;   /* events that slow subscribers lost, with a reset */
    uint64_t resets[RESET_REASONS]; /* by reason */
};

/* How much is pending. */
struct lag {
    uint64_t events, bytes;
};

struct tally {
    struct list node; /* in fan->tallies */
    struct tally *
        *home; /* what points at it; NULL: the channel is gone, or it was reported */
    struct tally_counts counts;
    struct lag lag;     /* the greatest of the subscribers that lag, at the report */
    uint32_t n_lagging; /* how many of them lag */
    uint32_t channel_n;
    char channel[];
};

/* Make the tally of a channel, at the end of a list. *home points at it from now on; of a
 * channel that this thread does not hold, 'home' is NULL. */
struct tally *tally_new(struct list *tallies, struct slice channel, struct tally **home);
void tally_free(struct tally *t); /* takes it out of its list */

/* The channel goes, or the tally does: they part. */
void tally_part(struct tally *t); /* NULL is fine */

/* A subscriber of the channel lags: first in the list, so that the report has it for sure. */
void tally_lagging(struct tally *t, struct list *tallies, struct lag lag);

void tally_add(struct tally_counts *to, const struct tally_counts *counts);
uint64_t tally_resets(const struct tally_counts *counts); /* of all reasons */

#endif
