/* What the fan of one thread holds. The functions on it are in fan.h; streams, subscriptions,
 * audiences and the gathering work on it from below. [one thread] */
#ifndef SLUICE_FAN_FAN_STATE_H
#define SLUICE_FAN_FAN_STATE_H

#include "base/buf.h"
#include "fan/cache.h"
#include "fan/chans.h"
#include "fan/tick.h"
#include "run/loop.h"

struct stream;

enum fan_sent {
    FAN_SENT,    /* all of it is with the kernel */
    FAN_BLOCKED, /* the rest is pinned: call stream_writable when it is out */
    FAN_QUEUED,  /* call stream_sent with one of the others, once, when it is known */
    FAN_GONE     /* the stream is being closed */
};

struct fan_ops {
    /* Send a block (takes it). Must not call back into the fan. */
    enum fan_sent (*send)(struct stream *s, struct block *b);

    /* Throw away the block that was given last, if its socket has taken nothing of it.
     * Returns whether it did; then the stream is not blocked any more. */
    bool (*take_back)(struct stream *s);

    /* It will be sent something soon: fetch what that takes into the cache. */
    void (*expect)(const struct stream *s);
};

struct fan {
    const struct loop *loop; /* of the one thread: ASSERT_OWNER */
    char epoch[EPOCH_LENGTH + 1];
    uint64_t head;                    /* the newest number seen here */
    const _Atomic uint64_t *log_head; /* the newest number given: what is 'future' */
    struct chans chans;
    struct map filters;
    struct map audiences;
    struct ticks ticks;
    struct list dirty;   /* audiences whose turn it is */
    struct list ready;   /* streams that are behind, and may be served */
    struct list waiting; /* streams whose sockets are full, for the longest time first */
    struct list tallies; /* what the app is still to be told; see tally.h */
    const struct fan_ops *ops;
    const atomic_bool *called; /* its thread has other things to do; NULL: never */
    int64_t now_ms;            /* set by the owner before each turn */
    int64_t drained_ms; /* while it drains: from then on somebody may listen again */
    uint64_t random;
    struct cache cache;
    struct buf scratch; /* one block in the making */
    uint64_t delivered, delivered_bytes, byes, slow;
};

#endif
