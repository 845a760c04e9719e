/* A channel as one thread holds it: a ring of frames, the newest per key, and the
 * audiences that listen here.
 *
 * The ring holds two stretches. [history, head) is what a newcomer or a returning
 * reader may get; what leaves it raises the floor, and a resume below the floor
 * gets a reset. [tail, history) is only there for open streams that lag; past its bound
 * the slow-reader policy acts.
 *
 *      tail        history                head
 *       |  backlog  |  may be replayed     |        numbers rise to the right
 *
 * Of a durable log memory holds no more than the newest: what leaves the ring is in the
 * store, and does not raise the floor. The store does, when it deletes
 * (chan_raise_floor). [one thread] */
#ifndef SLUICE_FAN_CHAN_H
#define SLUICE_FAN_CHAN_H

#include "base/list.h"
#include "base/map.h"
#include "base/pool.h"
#include "fan/frame.h"
#include "fan/latest.h"
#include "fan/loss.h"
#include "fan/policy.h"
#include "fan/tally.h"

/* What a channel keeps. Before its first event it keeps nothing, and that costs nothing. */
struct kept {
    struct frame **ring;
    uint32_t cap;       /* a power of two, or 0 */
    uint32_t n_pending; /* audiences with something pending */
    uint64_t tail, history,
        head; /* positions, which only rise: pos & (cap - 1) is the index */
    uint64_t history_bytes, ring_bytes;
    uint64_t floor;    /* the highest number that ever left the history, or the store */
    uint64_t gone;     /* the highest number that ever left the ring */
    uint64_t unstored; /* of a durable log: the store has nothing up to here */
    uint64_t last;     /* the newest number */
    uint64_t marked;   /* of a cluster: readers below it may miss something */
    bool
        ended; /* ... an epoch has since it was filled; of a keyed log: with some of its values */
    uint64_t expiring;      /* the newest with a ttl of its own; 0: none */
    int64_t last_ms;        /* when it was accepted */
    struct tally *tally;    /* counts since the last report; NULL: none */
    struct losses *losses;  /* what raised the floor; NULL: nothing did */
    struct latest *latest;  /* states and keyed logs; NULL: a log, or nothing is kept */
    uint64_t events, bytes; /* published here, for statistics */
    uint64_t encoded; /* bytes of lines, also of what is on its way to the store [app] */
};

struct chan {
    struct map_node node;        /* key: the name */
    const struct policy *policy; /* shared */
    const struct kept *kept;     /* never NULL; to be written to by chan_keep */
    struct audience *whole;      /* audiences without a filter */
    struct filtered *filtered;   /* those with one; NULL: none */
    uint32_t n_subs;             /* of all audiences */
    uint32_t n_lagging;          /* subscriptions that lag */
    enum channel_kind kind : 8;
    bool known;    /* an event came: it has a floor of its own */
    bool unfilled; /* it was one of this node alone: a cluster has to fill it */
    uint16_t name_n;
    char name[]; /* with a NUL */
};

static inline struct slice chan_name(const struct chan *c) {
    return slice_of(c->name, c->name_n);
}

/* Owned. The policy, as that of chan_configure, is there until another one comes. */
struct chan *chan_new(struct pools *pools, struct slice name,
                      const struct policy *policy);
void chan_free(struct pools *pools, struct chan *c); /* must have no audience */

/* What another policy means for its subscribers, which are informed before it comes. */
enum chan_change {
    CHAN_SAME,   /* it keeps its kind */
    CHAN_REKEYS, /* a log becomes a keyed one, or the other way round */
    CHAN_TURNS, /* a log becomes a state, or the other way round: it holds nothing then */
    CHAN_MOVES /* it becomes one of this node alone, or of all: nor does it then, and its numbers
                 * are others */
};
enum chan_change chan_change(const struct chan *c, const struct policy *policy);

/* Take the policy that the set has for it; trims at once what the policy no longer
 * keeps. */
void chan_configure(struct chan *c, const struct policy *policy);

/* What it keeps, to be written to: made when there is nothing yet. */
struct kept *chan_keep(struct chan *c);

/* Append a numbered frame (shares). */
void chan_append(struct chan *c, struct frame *f);

/* Drop history up to and including a number. Of a durable log it is still in the store. The
 * newest values of a durable channel stay, and those of a keyed log but for what is withdrawn;
 * of one whose history is empty they go, for there is nothing else to make room. */
void chan_trim(struct chan *c, uint64_t seq, enum lost_by by);

/* The store has nothing up to and including a number any more. */
void chan_raise_floor(struct chan *c, uint64_t floor);

/* Forget the newest per key of a keyed log that no stream walks: others come. */
void chan_forget_latest(struct chan *c);

/* Begin with what a store says of it: the newest number that is gone, and the newest that
 * is there. Before its first event. */
void chan_restore(struct chan *c, uint64_t floor, uint64_t last);

/* One of its newest stored events, for the ring (shares); in rising order, above 'last'. */
void chan_restore_event(struct chan *c, struct frame *f);

/* One of its newest stored values (shares). It is no log. */
void chan_restore_newest(struct chan *c, struct frame *f);

/* A channel as it was loaded from elsewhere; borrowed. */
struct chan_fill {
    struct frame **frames; /* history: rising, at or below 'last' */
    struct frame **values; /* the newest of each key and name: rising */
    uint32_t n, n_values;
    uint64_t floor; /* the highest number that is gone */
    uint64_t gone;  /* ... that is left to pages; 0: none is */
    uint64_t last, marked;
};

/* Take that in place of what is there, which its subscribers have no turn for. True: a value is
 * gone that was there. */
bool chan_refill(struct chan *c, const struct chan_fill *f);

/* Drop all events above a number: they are lost. The newest values too: they are refilled. */
void chan_cut(struct chan *c, uint64_t base);

/* Whether what leaves its ring can be had in pages (fan/history.h). */
static inline bool chan_is_paged(const struct chan *c) {
    return c->policy->durable && c->kind != CHANNEL_STATE &&
           (c->policy->history > 0 || c->kind == CHANNEL_KEYED);
}

/* The highest number that can be had neither from the ring nor in pages. */
static inline uint64_t chan_lost(const struct chan *c) {
    const struct kept *k = c->kept;
    return chan_is_paged(c) && k->unstored < k->gone ? k->unstored : k->gone;
}

/* When no subscription lags and nothing is pending, what only those needed goes. */
void chan_release_backlog(struct chan *c);

/* Where to count what happened on it: its tally, made at the end of the list when it has
 * none. */
static inline struct tally *chan_tally(struct chan *c, struct list *tallies) {
    struct tally *t = c->kept->tally;
    return t ? t : tally_new(tallies, chan_name(c), &chan_keep(c)->tally);
}

/* The position of the first frame above 'seq' (kept->head when none), and the frame there. */
uint64_t chan_after(const struct chan *c, uint64_t seq);
static inline struct frame *chan_at(const struct chan *c, uint64_t pos) {
    return c->kept->ring[pos & (c->kept->cap - 1)];
}

/* The newest event that is not withdrawn: of a key, of a name, or of all (both empty).
 * Borrows; NULL. */
struct frame *chan_latest(const struct chan *c, struct slice key, struct slice name,
                          int64_t now_ms);

/* The lowest number above 'seq' that may still be there, in the ring or in the store; 0: none.
 * Of the store that is not known exactly: there is nothing below it. */
uint64_t chan_oldest(const struct chan *c, uint64_t seq);

/* The newest number that is not in the history but in the store; 0: there is none. */
uint64_t chan_beyond(const struct chan *c);

/* Number of events in the history or in the snapshot. */
uint32_t chan_events(const struct chan *c);

#endif
