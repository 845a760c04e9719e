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

/* ---- Commands, in their order ------------------------------------------------------- */

void fan_frame(struct fan *fan, struct frame *f);           /* shares */
void fan_policies(struct fan *fan, struct policy_set *set); /* shares */
void fan_trim(struct fan *fan, struct slice channel, uint64_t seq);
void fan_drop(struct fan *fan, struct slice channel);

/* ---- Delivery ----------------------------------------------------------------------- */

/* Serve streams for FLUSH_US_MAX, or until the thread is called; with a budget above 0 so
 * many visits, however long they take. True when there is more to do at once; the next tick
 * is at ticks_next(&fan->ticks). */
bool fan_flush(struct fan *fan, int budget);

#endif
