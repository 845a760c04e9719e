/* What the fan of one thread holds. The functions on it are in fan.h; streams, subscriptions,
 * audiences and the gathering work on it from below. [one thread] */
#ifndef SLUICE_FAN_FAN_STATE_H
#define SLUICE_FAN_FAN_STATE_H

#include "base/buf.h"
#include "base/planted.h"
#include "base/pool.h"
#include "fan/cache.h"
#include "fan/coder.h"
#include "fan/chans.h"
#include "fan/latency.h"
#include "fan/lineage.h"
#include "fan/tick.h"
#include "run/loop.h"
#include "run/yield.h"

struct stream;
struct loss;
struct fan_history;
struct ended;
struct marks;

enum fan_sent {
    FAN_SENT,    /* all of it is with the kernel */
    FAN_BLOCKED, /* the rest is pinned: call stream_writable when it is out */
    FAN_QUEUED,  /* call fan_on_result with one of the others, once, when it is known */
    FAN_GONE     /* the stream is being closed */
};

struct fan_ops {
    /* Send a block (takes it). Must not call back into the fan. */
    enum fan_sent (*send)(struct stream *s, struct block *b);

    /* Throw away the block that was given last, if its socket has taken nothing of it.
     * Returns whether it did; then the stream is not blocked any more. */
    bool (*take_back)(struct stream *s);

    /* It lost something of a channel, and is sent a reset, or ends. */
    void (*lost)(struct stream *s, const struct loss *loss);

    /* It will be sent something soon: fetch what that takes into the processor's cache. */
    void (*expect)(const struct stream *s);
};

struct fan {
    const struct loop *loop;      /* of the one thread: ASSERT_OWNER */
    char epoch[EPOCH_LENGTH + 1]; /* of all numbers here */
    struct lineage lineage;       /* of a cluster: earlier epochs */
    uint64_t marked;              /* ... number: what is below may miss something */
    uint64_t joined;              /* ... number: marks up to here tell of what was lost
                                   * before this epoch was heard of here */
    const struct ended *ended;    /* ... while another one begins (shared.c) */
    const struct marks *marks;    /* ... while some are told (shared.c) */
    uint64_t head;                /* number: the newest event that came to this thread */
    uint64_t local_head; /* ... of local channels, which have their own numbers */
    const _Atomic uint64_t
        *log_head; /* number: the newest given; ids above are 'future' */
    struct chans chans;
    struct map filters;  /* struct filter, interned */
    struct map filtered; /* struct indexed: audiences with a filter, by audience_key */
    struct ticks ticks;
    struct pool audiences, subs;
    struct list dirty;   /* audiences whose turn it is, the next one first */
    struct list ready;   /* streams that lag and may be served, the next one first */
    struct list waiting; /* streams whose sockets are full, the longest waiting first */
    const struct fan_history
        *history;           /* what durable logs have beyond memory; NULL: none */
    struct list page_queue; /* struct paging: wait for a turn to read pages, in order */
    struct list page_rest;  /* struct paging: ask again later, the first one first */
    uint32_t page_turns;    /* streams that have a turn, and what left ones asked for */
    struct list tallies; /* counts that were not reported to the app yet; see tally.h */
    const struct fan_ops *ops; /* NULL: there are no streams */
    const atomic_bool *called; /* its thread has other things to do; NULL: never */
    struct yield *yield;       /* its thread's; NULL: it never gives way */
    int64_t now_ms;            /* monotonic; set by the owner before each turn */
    int64_t
        drained_ms; /* monotonic, in a drain: from then on a server may listen here again */
    uint64_t random;                     /* state of the generator of retry times */
    struct cache cache;                  /* the blocks gathered last */
    struct buf scratch;                  /* one block in the making: never grows */
    struct coder coder;                  /* compresses blocks */
    uint64_t delivered, delivered_bytes; /* events handed to ops->send, since the start */
    uint64_t compressions;               /* blocks compressed, since the start */
    /* Of what was handed over compressed: its bytes before and after that, chunks included. */
    uint64_t compressed_from, compressed_to;
    struct latency latency;        /* of blocks that were sent */
    struct latency latency_queued; /* of those that are queued */
    const uint32_t *unsent; /* queued ones that have not entered the kernel; NULL: none */
    bool queued;            /* something, by this flush */
    uint64_t gathered;      /* bytes of the blocks that it has made */
    struct histogram *replays; /* of openings: events until it had caught up; NULL */
    uint64_t byes;             /* ends of streams, since the start */
    uint64_t slow; /* readers that lost something because they lagged, since the start */
};

/* The newest number of those that a channel's are of. */
static inline uint64_t fan_head(const struct fan *fan, const struct chan *c) {
    return c->policy->local && !PLANTED(677) ? fan->local_head : fan->head;
}

#endif
