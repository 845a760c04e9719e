/* A channel as one thread holds it: a ring of frames, the newest per key, and who
 * listens here.
 *
 * The ring holds two stretches. [history, head) is what a newcomer or a returning
 * reader may get; what leaves it raises the floor, and a resume below the floor is
 * told. [tail, history) is only there for open streams that are behind; past its bound
 * the slow-reader policy acts.
 *
 *      tail        history                head
 *       |  backlog  |  may be replayed     |        numbers rise to the right
 *
 * The array of subscribers is parted: live ones (caught up, walked at each flush) come
 * first, those behind follow. A walk may pause between two slices and the array change
 * meanwhile: 'walk' separates the visited from the rest, and all moves keep it true.
 * [one thread] */
#ifndef SLUICE_FAN_CHAN_H
#define SLUICE_FAN_CHAN_H

#include "base/list.h"
#include "base/map.h"
#include "fan/filter.h"
#include "fan/frame.h"
#include "fan/latest.h"
#include "fan/policy.h"

struct stream;
struct chan;

/* A subscription: one stream on one channel. */
struct sub {
    struct sub *next; /* of the same stream */
    struct chan *chan;
    struct stream *stream;
    struct filter *filter; /* shared, or NULL */
    uint64_t from;         /* events up to this number are done or none of its business */
    uint64_t joined;       /* the head when it joined: snapshots end here */
    uint32_t index;        /* in chan->subs */
    bool snapshot;         /* keyed log: still in the newcomer's compacted replay */
};

struct chan {
    struct map_node node; /* key: the name */
    struct list dirty;    /* in fan->dirty while it has events to flush */
    struct policy policy;
    enum channel_kind kind;
    bool known; /* an event came: it has a floor of its own */

    struct frame **ring;
    uint32_t cap;                 /* a power of two, or 0 */
    uint64_t tail, history, head; /* absolute places; place & (cap - 1) */
    uint64_t history_bytes, ring_bytes;
    uint64_t floor;        /* the highest number that ever left the history */
    uint64_t gone;         /* the highest number that ever left the ring */
    uint64_t last;         /* the newest number */
    int64_t last_ms;       /* when it was accepted */
    struct latest *latest; /* states and keyed logs */

    struct sub **subs;
    uint32_t n_live, n_subs, cap_subs;
    uint32_t walk;      /* subs[0, walk) were visited in the running walk */
    uint64_t walk_last; /* the newest number when that walk began */

    uint64_t events, bytes; /* published here, for statistics */
    char name[];
};

struct chan *chan_new(struct slice name); /* owned */
void chan_free(struct chan *c);           /* must have no subscribers */

/* Take the policy that the set has for it; trims at once what the policy no longer
 * keeps. */
void chan_configure(struct chan *c, const struct policy *policy);

/* Append a numbered frame (shares). */
void chan_append(struct chan *c, struct frame *f);

/* Drop history up to and including a number. */
void chan_trim(struct chan *c, uint64_t seq);

/* Called when no reader is behind: what only they needed goes. */
void chan_release_backlog(struct chan *c);

/* The place of the first frame above 'seq' (c->head when none), and the frame there. */
uint64_t chan_after(const struct chan *c, uint64_t seq);
static inline struct frame *chan_at(const struct chan *c, uint64_t place) {
    return c->ring[place & (c->cap - 1)];
}

/* The newest event: of a key, of a name, or of all (both empty). Borrows; NULL. */
struct frame *chan_latest(const struct chan *c, struct slice key, struct slice name);

/* Number of events in the history or in the snapshot. */
uint32_t chan_events(const struct chan *c);

/* ---- Subscribers -------------------------------------------------------------------- */

int chan_reserve_sub(struct chan *c);             /* 0 or E_NOMEM */
void chan_add_sub(struct chan *c, struct sub *s); /* behind; after chan_reserve_sub */
void chan_remove_sub(struct chan *c, struct sub *s);
void chan_demote(struct chan *c, struct sub *s);  /* live to behind; idempotent */
void chan_promote(struct chan *c, struct sub *s); /* behind to live; idempotent */

#endif
