/* Channels that a fan shares with other machines: commands of a cluster (csrc/cluster).
 *
 * Numbers come from elsewhere, and events of channels that nobody follows here do not come at
 * all: a channel is filled before its first subscriber. An epoch may end, and with it events that
 * were released here; then streams go on from where it surely survived, and are told. [one
 * thread] */
#ifndef SLUICE_FAN_SHARED_H
#define SLUICE_FAN_SHARED_H

#include "fan/fan.h"
#include "fan/lineage.h"

/* It is one of a cluster: what durable logs have beyond memory is in Redis. Before its first channel. */
void fan_share(struct fan *fan);

struct fan_fill {
    struct slice channel;
    struct chan_fill chan;
    uint64_t upto; /* the fill was made at this number: nothing up to here is to come */
    uint64_t marked_by_others; /* the newest mark of another node than this one */
    bool lost;                 /* its readers have missed something for good */
};

/* Fill channels, at one moment: who follows several of them goes on in one order. Whoever follows
 * one gets what is above its place. One for which there is no room is left out. */
void fan_fill(struct fan *fan, const struct fan_fill *fills, uint32_t n);

struct fan_epoch {
    const char *epoch;
    const struct lineage *lineage;
    uint64_t base; /* all above it is lost; UINT64_MAX: nothing, it is the first epoch */
    uint64_t head; /* ... and begins behind this number */
    uint64_t marked, joined; /* see struct fan */
};

/* Another epoch. The resets that tell of it repeat the id that a client has: only the last one of a
 * stream brings the new one, so that a cut between them brings all of them again. */
void fan_epoch(struct fan *fan, const struct fan_epoch *e);

/* Readers of a channel (empty: of all) may have missed something below a number: it was lost before the
 * author of the mark heard of this epoch. So those know that heard of it here, later: by marks that
 * were there already, or are of this very node ('own'). */
struct fan_mark {
    struct slice channel;
    uint64_t seq;
    bool own;
};

void fan_mark(struct fan *fan, const struct fan_mark *mark);

#endif
