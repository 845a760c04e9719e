/* An audience: the subscribers of one channel with the same wishes, that is with one
 * filter and one tick.
 *
 * An event goes to the audiences that want it and to no other: those without a list of
 * keys are asked one by one, the rest are found by the event's key, so ten thousand
 * subscribers that each want three of a thousand keys cost what the few that match cost.
 * What an audience owes its members is sent at once, or with a tick when it has one.
 *
 * The array of members is parted: live ones (caught up, walked when the audience owes)
 * come first, those behind follow. A walk may pause between two slices and the array
 * change meanwhile: 'walk' separates the visited from the rest, and all moves keep it
 * true. An audience exists while it has members. [one thread] */
#ifndef SLUICE_FAN_AUDIENCE_H
#define SLUICE_FAN_AUDIENCE_H

#include "base/map.h"
#include "base/planted.h"
#include "fan/filter.h"
#include "fan/chan.h"
#include "fan/tick.h"

struct fan;
struct stream;
struct interest;

/* What tells audiences apart; compared as bytes. */
struct audience_place {
    struct chan *chan;
    struct filter *filter; /* shared; NULL: everything */
    struct tick *tick;     /* NULL: at once */
    uint64_t wish_ms;      /* the period its members asked for; 0: none */
};

/* A subscription: one stream on one channel, as a member of an audience; see sub.h. */
struct sub {
    struct sub *next; /* of the same stream */
    struct audience *audience;
    struct stream *stream;
    uint64_t from;
    uint64_t joined;     /* the head when it joined: snapshots end here */
    int64_t rests_ms;    /* the first tick that it takes part in */
    uint32_t seen;       /* audience->wanted when it had all of that */
    uint32_t index : 30; /* in audience->subs */
    bool snapshot : 1;   /* keyed log: still in a compacted replay, 'from' says how far */
    bool confirm : 1;    /* ... which followed a reset: a sync ends it */
};

/* In the order of use: what a turn touches comes first. */
struct audience {
    struct audience_place place;
    struct list turn; /* in fan->dirty or in its tick, while it owes */
    uint64_t last;    /* the newest event it may want */
    uint64_t newest;  /* the newest that came and that it wants; 0: none came yet */
    uint64_t owed;    /* live members have all below this one; 0: all */
    uint64_t due;     /* how far the running or the last turn goes */
    /* How many events it wanted so far; up to 'due', and below 'owed'. */
    uint32_t wanted, wanted_due, wanted_clear;
    bool again : 1; /* a member rested in this turn: there is one more */
    bool typed : 1; /* its filter asks for the event's name, too */

    uint32_t walk; /* subs[0, walk) were visited in this turn */
    uint32_t n_live, n_subs, cap_subs;
    struct sub **subs, *first; /* &first until there are two */

    struct map_node node;      /* in fan->audiences; key: the place */
    struct list in_chan;       /* chan->broad, or chan->narrow when it has keys */
    struct interest *interest; /* in chan->by_key; one for each key */
};

/* Find or make the audience for a wish and make room for one more member. Shares the
 * filter. period_ms is the wish: one of tick_period. When the member does not come after
 * all, call audience_release. 0 or E_NOMEM. */
int audience_reserve(struct fan *fan, struct audience_place wish, struct audience **out);
void audience_release(struct fan *fan, struct audience *a); /* frees an empty one */

void audience_add(struct audience *a, struct sub *sub); /* behind; after _reserve */
void audience_remove(struct audience *a, struct sub *sub);
void audience_demote(struct audience *a, struct sub *sub);  /* live to behind */
void audience_promote(struct audience *a, struct sub *sub); /* behind to live */

/* The channel has a new event: whoever wants it is owed it. */
void audiences_owe(struct fan *fan, struct chan *c, const struct frame *f);

/* Call 'act' for every subscriber of a channel; it may demote it. */
void audiences_each_sub(struct chan *c, void (*act)(struct sub *sub));

/* The policy of the channel changed: its rate may have. */
void audiences_retune(struct fan *fan, struct chan *c);

/* Those whose tick has come have their turn now. */
void audiences_tick(struct fan *fan);

/* A turn is over: it owes nothing, or has another one. */
void audience_turn_over(struct fan *fan, struct audience *a);

/* A member rests, and has nothing above 'from' yet: the next tick is for it too. */
void audience_owe_again(struct fan *fan, struct audience *a, uint64_t from);

static inline struct chan *sub_chan(const struct sub *sub) {
    return sub->audience->place.chan;
}
static inline struct filter *sub_filter(const struct sub *sub) {
    return sub->audience->place.filter;
}
static inline bool sub_is_state(const struct sub *sub) {
    return sub_chan(sub)->kind == CHANNEL_STATE;
}

/* Live members have everything up to here. */
static inline uint64_t audience_clear(const struct audience *a, uint64_t head) {
    return a->owed && !PLANTED(20) ? a->owed - 1 : head;
}

#endif
