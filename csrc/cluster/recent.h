/* Which channels had events last, and with which number: should these turn out to be lost, their
 * readers are told by a mark in each of these channels.
 *
 * Of more channels than MARKS_MAX the one whose event is the oldest is forgotten; when what was
 * lost goes back that far, one mark stands for all. [one thread] */
#ifndef SLUICE_CLUSTER_RECENT_H
#define SLUICE_CLUSTER_RECENT_H

#include "base/list.h"
#include "base/map.h"

struct recent {
    struct map map;
    struct list order; /* the oldest first */
    unsigned n;
    uint64_t forgotten;   /* the highest number of those */
    int64_t forgotten_ms; /* ... and when it was noted */
    unsigned n_owed;      /* marks that are to be written */
    bool owes_all;
    int64_t owed_ms; /* nothing that they tell of was noted later */
};

void recent_init(struct recent *r);
void recent_deinit(struct recent *r);

/* A channel had an event with this number, as is known since now. */
void recent_note(struct recent *r, struct slice channel, uint64_t hash, uint64_t seq,
                 int64_t now_ms);

/* What is above 'base' is lost. Channels of which that was noted at 'since_ms' or later owe a mark until
 * recent_paid. */
void recent_lose(struct recent *r, uint64_t base, int64_t since_ms);

/* Up to 'most' channels that owe a mark (borrowed until the next note). */
unsigned recent_owed(const struct recent *r, struct slice *channels, unsigned most);
void recent_paid(struct recent *r);

#endif
