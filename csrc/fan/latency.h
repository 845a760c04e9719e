/* Latency: how long events took from app:publish until the sockets of caught-up streams had them.
 *
 * A visit to a live stream notes when the oldest event of its block was accepted; the clock is read
 * for some of them together: of blocks that were sent where a flush looks at it anyway, of those
 * that are queued when their batch has entered the kernel, and of all at the end of a turn.
 * So a delivery costs a comparison and an addition, and the last stream of a fan-out counts with
 * all the time that it waited for the others. Streams that lag do not count: they wait for their
 * own sockets (see lag.h). Neither do events that wait for a tick, as their channel asks. [one thread] */
#ifndef SLUICE_FAN_LATENCY_H
#define SLUICE_FAN_LATENCY_H

#include "base/bounds.h"
#include "base/histogram.h"

struct latency {
    struct histogram *into; /* NULL: nobody wants to know */
    uint32_t n;             /* of those below: the clock was not read since */
    struct {
        int64_t at_us;
        uint32_t streams;
    } noted[RING_BATCH]; /* as many blocks as are queued before they are sent */
};

/* A block whose oldest event was accepted then (0: unknown) was given to a live stream. */
void latency_note(struct latency *l, int64_t at_us);

/* All that was noted is with the kernel. */
void latency_settle(struct latency *l, int64_t now_us);

#endif
