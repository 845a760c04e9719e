/* The fan: all channels and streams of one thread.
 *
 * It is a pure function of the commands it is given, in their order: frames, policies,
 * trims, drops, subscriptions. Every I/O thread holds one and all get the same commands,
 * so a client may come back on any of them; the app thread holds one more, without
 * streams, to answer app:latest and to decide about trims.
 *
 * Delivery: a frame is owed to the audiences that want it. fan_flush walks the live
 * members of those that owe, gathers for each what is pending (once for all who stand at
 * the same place) and hands the block to ops->send. Streams that are behind are served from the
 * ready list, one block a turn each. A flush stops when its time or its budget is used up
 * and goes on where it stopped. [one thread] */
#ifndef SLUICE_FAN_FAN_H
#define SLUICE_FAN_FAN_H

#include "base/bounds.h"
#include "base/buf.h"
#include "base/pattern.h"
#include "fan/stream.h"

enum fan_sent {
    FAN_SENT,    /* all of it is with the kernel */
    FAN_BLOCKED, /* the rest is pinned: call fan_writable when it is out */
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

/* A place of a block: which channel, for whom, from where and how far. */
struct gather_place {
    const struct audience *audience;
    uint64_t first; /* number of the first pending event */
    uint64_t upto;  /* and how far it looks */
};

/* What one subscription gets from a block. */
struct gather_sent {
    uint32_t events, bytes;
    uint32_t
        wanted; /* of these events, those that its audience counted since it joined */
};

struct gather_cached {
    struct block *block; /* NULL: unused */
    uint32_t n;
    bool more;
    uint64_t cursor, written;
    struct gather_place places[GATHER_CHANNELS_MAX];
    uint64_t to[GATHER_CHANNELS_MAX]; /* where each state stands afterwards */
    struct gather_sent sent[GATHER_CHANNELS_MAX];
};

#define GATHER_CACHE 16

/* The floor that channels of one policy left behind when they were dropped. */
struct meta_floor {
    char *pattern;
    uint64_t floor;
};

struct fan {
    char epoch[EPOCH_LENGTH + 1];
    uint64_t head;                    /* the newest number seen here */
    const _Atomic uint64_t *log_head; /* the newest number given: what is 'future' */
    struct map channels;
    struct map filters;
    struct map audiences;
    struct ticks ticks;
    struct policy_set *policies;
    struct list dirty;   /* audiences whose turn it is */
    struct list ready;   /* streams that are behind, and may be served */
    struct list waiting; /* streams whose sockets are full, for the longest time first */
    struct list tallies; /* what the app is still to be told; see tally.h */
    const struct fan_ops *ops;
    const atomic_bool *called; /* its thread has other things to do; NULL: never */
    int64_t now_ms;            /* set by the owner before each turn */
    int64_t drained_ms; /* while it drains: from then on somebody may listen again */
    uint64_t random;
    struct meta_floor *floors;
    uint32_t n_floors;
    uint64_t any_floor; /* of policies beyond META_FLOORS_MAX */
    struct gather_cached cache[GATHER_CACHE];
    uint32_t cache_next, cache_hot;
    struct buf scratch; /* one block in the making */
    uint64_t delivered, delivered_bytes, byes, slow;
};

void fan_init(struct fan *fan, const char *epoch, const _Atomic uint64_t *log_head,
              const struct fan_ops *ops, uint64_t seed);
void fan_deinit(struct fan *fan); /* must have no streams */

/* ---- Commands, in their order ------------------------------------------------------- */

void fan_frame(struct fan *fan, struct frame *f);           /* shares */
void fan_policies(struct fan *fan, struct policy_set *set); /* shares */
void fan_trim(struct fan *fan, struct slice channel, uint64_t seq);
void fan_drop(struct fan *fan, struct slice channel);

/* ---- Delivery ----------------------------------------------------------------------- */

/* Serve streams for FLUSH_US_MAX, less when the thread is called meanwhile or, with a
 * budget, so many, however long that takes. True when there is more to do at once; the
 * next tick is at ticks_next(&fan->ticks). */
bool fan_flush(struct fan *fan, int budget);

/* A stream has something of its own to send, or its socket takes bytes again. */
void fan_wake(struct fan *fan, struct stream *s);
void fan_writable(struct fan *fan, struct stream *s);

/* ---- Looking up --------------------------------------------------------------------- */

struct chan *fan_find(const struct fan *fan, struct slice channel); /* NULL */

/* Find or make (E_FULL, E_CHANNEL). */
int fan_get(struct fan *fan, struct slice channel, struct chan **out);

/* The floor a resume is judged by: of a state, from the time when it was a log. */
uint64_t fan_floor(const struct fan *fan, const struct chan *c);

/* A channel that nobody needs any more goes. */
void fan_release(struct fan *fan, struct chan *c);

/* The places of the gathered blocks are not right any more. */
void fan_forget_blocks(struct fan *fan);

#endif
