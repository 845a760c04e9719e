/* An audience: the subscriptions of one channel with one filter and one tick.
 *
 * An event goes to the audiences that want it and to no other: those without a list of
 * keys are asked one by one, the rest are found by the event's key, so ten thousand
 * subscribers that each want three of a thousand keys cost what the few that match cost.
 * What is pending for an audience is sent at once, or with a tick when it has one.
 *
 * The array of members has two parts: live ones (caught up, walked when something is
 * pending) come first, lagging ones follow. A walk may pause between two slices and the
 * array change meanwhile: 'walk' separates the visited from the rest, and all moves keep it
 * true. An audience exists while it has members.
 *
 *     subs   | visited | not yet visited |  lagging  |
 *            0        walk            n_live       n_subs
 *
 * A channel has few audiences without a filter, one for each rate, and any number with one:
 * only these have an index.
 *
 * Numbers below are those of events (frame->seq); counts are modulo 2^32 and only ever
 * subtracted from each other. [one thread] */
#ifndef SLUICE_FAN_AUDIENCE_H
#define SLUICE_FAN_AUDIENCE_H

#include "base/map.h"
#include "base/planted.h"
#include "fan/filter.h"
#include "fan/chan.h"
#include "fan/tick.h"

struct fan;
struct stream;
struct indexed;

/* What makes an audience; compared as bytes. */
struct audience_key {
    struct chan *chan;
    struct filter *filter; /* shared; NULL: everything */
    struct tick *tick;     /* NULL: sent at once */
    uint64_t asked_ms;     /* the period that its members asked for; 0: none */
};

/* A subscription: one stream on one channel, as a member of an audience; see sub.h. */
struct sub {
    struct sub *next; /* of the same stream */
    struct audience *audience;
    struct stream *stream;
    uint64_t from;    /* number: of the channel, all up to here is done, or not for it */
    uint64_t joined;  /* number: the head when it joined; snapshots end here */
    int64_t rests_ms; /* monotonic: the first tick that it takes part in; 0: any */
    uint32_t counted; /* count: audience->wanted when it had all that was wanted */
    uint32_t index : 27; /* in audience->subs */
    bool snapshot : 1;   /* keyed log: still in a compacted replay, 'from' says how far */
    bool confirm : 1;    /* ... which followed a reset: a sync ends it */
    bool
        behind : 1; /* joined an open stream with history: 'from' says how far, to 'joined' */
    bool seeks : 1; /* where it starts is asked of the store: at 'from' or above */
    bool told : 1;  /* it began with a reset, at what is known of the store's floor */
};

/* In the order of use: what a turn touches comes first. */
struct audience {
    struct audience_key key;
    struct list turn; /* in fan->dirty or its tick, while something is pending */
    uint64_t last;    /* number: the newest event that it may want */
    uint64_t pending; /* number: live members were sent all below it; 0: all there is */
    uint64_t due;     /* number: how far the running or the last turn goes */

    uint32_t wanted;      /* count: events that it wanted so far */
    uint32_t wanted_due;  /* count: of these, those up to 'due' */
    uint32_t wanted_sent; /* count: of these, those below 'pending' */
    bool news : 1;        /* 'last' is wanted for sure: it came when this was here */
    bool again : 1;       /* a member rested in this turn: there is one more */
    bool typed : 1;       /* its filter asks for the event's name, too */

    uint32_t walk;                     /* subs[0, walk) were visited in this turn */
    uint32_t n_live, n_subs, cap_subs; /* live members, all members, room for members */
    struct sub **subs, *first;         /* &first until there are two */

    union {
        struct audience *next;   /* of chan->whole: it has no filter */
        struct indexed *indexed; /* it has one */
    } at;
};

/* Find or make an audience, and make room for one more member. The tick of the key is chosen
 * here, by the policy and asked_ms, which is one of tick_period. Shares the filter. When the
 * member does not come after all, call audience_release. 0 or E_NOMEM. */
int audience_reserve(struct fan *fan, struct audience_key key, struct audience **out);
void audience_release(struct fan *fan, struct audience *a); /* frees an empty one */

void audience_add(struct audience *a, struct sub *sub); /* lagging; after _reserve */
void audience_remove(struct audience *a, struct sub *sub);
void audience_demote(struct audience *a, struct sub *sub);  /* live to lagging */
void audience_promote(struct audience *a, struct sub *sub); /* lagging to live */

/* The channel has a new event: it is pending for the audiences that want it. */
void audiences_add(struct fan *fan, struct chan *c, const struct frame *f);

/* Call 'act' for every subscriber of a channel; it may demote it. */
void audiences_each_sub(struct chan *c, void (*act)(struct sub *sub));

/* Its numbers are others from here on: nothing is pending. */
void audiences_restart(struct fan *fan, struct chan *c);

/* The policy of the channel changed: its rate may have. */
void audiences_retune(struct fan *fan, struct chan *c);

/* Those whose tick has come have their turn now. */
void audiences_tick(struct fan *fan);

/* A turn is over: nothing is pending, or it has another one. */
void audience_turn_over(struct fan *fan, struct audience *a);

/* A member rests, and was sent nothing above 'from' yet: that stays pending, for the next
 * tick. */
void audience_keep(struct fan *fan, struct audience *a, uint64_t from);

static inline struct chan *sub_chan(const struct sub *sub) {
    return sub->audience->key.chan;
}
static inline struct filter *sub_filter(const struct sub *sub) {
    return sub->audience->key.filter;
}
static inline bool sub_is_state(const struct sub *sub) {
    return sub_chan(sub)->kind == CHANNEL_STATE;
}
static inline bool sub_is_local(const struct sub *sub) {
    return sub_chan(sub)->policy->local;
}

/* Whether it has a place of its own, which no id tells: 'from' says it. */
static inline bool sub_is_apart(const struct sub *sub) {
    return sub_is_state(sub) || (sub_is_local(sub) && !PLANTED(671));
}

/* Whether an event is the newest that came, and it is known that it is wanted. */
static inline bool audience_took(const struct audience *a, const struct frame *f) {
    return a->news && f->seq == a->last;
}

/* Number: live members have everything up to here. */
static inline uint64_t audience_sent(const struct audience *a, uint64_t head) {
    return a->pending && !PLANTED(20) ? a->pending - 1 : head;
}

#endif
