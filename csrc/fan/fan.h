/* The fan: all channels and streams of one thread.
 *
 * It is a pure function of the commands it is given, in their order: frames, policies,
 * trims, drops, subscriptions. Every I/O thread holds one and all get the same commands,
 * so a client may come back on any of them; the app thread holds one more, without
 * streams, to answer app:latest and to decide about trims.
 *
 * Delivery: a frame becomes pending for the audiences that want it. fan_flush walks the live
 * members of those, gathers for each what is pending (once for all that stand at the same
 * cursor) and hands the block to ops->send. Lagging streams are served from the ready list,
 * one block a turn each. A flush stops when its time or its budget is used up and goes on
 * where it stopped. [one thread] */
#ifndef SLUICE_FAN_FAN_H
#define SLUICE_FAN_FAN_H

#include "fan/fan_state.h"
#include "fan/stream.h"

/* What a fan is made of; borrowed. */
struct fan_setup {
    const struct loop *loop; /* its owner's: kept */
    const char *epoch;
    const _Atomic uint64_t *log_head; /* of the sequencer: kept */
    const struct fan_ops *ops;        /* kept; NULL: it has no streams */
    uint64_t seed;                    /* for retry times */
};
void fan_init(struct fan *fan, const struct fan_setup *setup);
void fan_deinit(struct fan *fan); /* must have no streams */

/* ---- A start on what a store has: after the first policies, before the first event ---- */

/* This run gives numbers above 'first', in an epoch that may be older. Memory logs lost all
 * up to it: a reader that comes back gets reset, restart. */
void fan_restore_start(struct fan *fan, const char *epoch, uint64_t first);

/* A channel that the store knows: the newest number that is gone, and the newest that is
 * there (chan_restore). E_FULL, E_CHANNEL or 0. */
int fan_restore_channel(struct fan *fan, struct slice channel, uint64_t floor,
                        uint64_t last);
/* The floor of channels of a durable pattern that the store has no row of. */
void fan_restore_pattern(struct fan *fan, struct slice pattern, uint64_t floor);
/* One of the newest events of a restored log, for its ring (shares), when rewinds of
 * newcomers shall find it: in rising order, above the 'last' that it was restored with. */
void fan_restore_event(struct fan *fan, struct frame *f);
/* A newest value of a restored channel (shares): those of a channel in rising order. */
void fan_restore_newest(struct fan *fan, struct frame *f);

/* What a conversion brings; borrowed. */
struct fan_floor {
    struct slice pattern; /* a durable one */
    uint64_t floor;       /* of its channels that the store has no row of */
};

struct fan_conversion {
    struct policy_set *policies;
    const struct fan_floor *floors;
    uint32_t n_floors;
    struct slice *keyed; /* durable logs that have become keyed */
    uint32_t n_keyed;
    struct frame **newest; /* their newest values, those of a channel in rising order */
    uint32_t n_newest;
};

/* ---- Commands, in their order ------------------------------------------------------- */

void fan_frame(struct fan *fan, struct frame *f);           /* shares */
void fan_policies(struct fan *fan, struct policy_set *set); /* shares */
/* Other policies at the place where the store has made something durable, or of another
 * kind, and what only the store knows of it. */
void fan_convert(struct fan *fan, const struct fan_conversion *c);
void fan_trim(struct fan *fan, struct slice channel, uint64_t seq, enum lost_by by);
void fan_drop(struct fan *fan, struct slice channel);

/* The same of one that a cluster has, durable or not. */
void fan_forget(struct fan *fan, struct slice channel);
/* The store has deleted all of a durable channel up to a number. */
void fan_raise_floor(struct fan *fan, struct slice channel, uint64_t floor);

/* ---- Delivery ----------------------------------------------------------------------- */

/* Serve streams for FLUSH_US_MAX, or until the thread is called; with a budget above 0 so
 * many visits, however long they take. True when there is more to do at once; else the next
 * time is at fan_next (monotonic ms; INT64_MAX: none). */
bool fan_flush(struct fan *fan, int budget);

/* All that was given to ops->send is with the kernel: how long its events took is counted. */
void fan_settle(struct fan *fan);

/* The result of a block that was queued (FAN_QUEUED), and whether it ended the stream. */
void fan_on_result(struct stream *s, enum fan_sent sent, bool over);
int64_t fan_next(const struct fan *fan);

#endif
