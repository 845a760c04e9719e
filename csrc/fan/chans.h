/* The channels of one thread, by name, with the policies they have and the floors that
 * dropped ones leave behind.
 *
 * A channel is there while it holds events or has subscribers. One that held events and is
 * dropped leaves its floor with its policy's pattern, so that a client that comes back learns
 * what it lost; there are at most META_FLOORS_MAX such floors, and policies beyond share one,
 * which is never too low. [one thread] */
#ifndef SLUICE_FAN_CHANS_H
#define SLUICE_FAN_CHANS_H

#include "fan/chan.h"

/* The floor that channels of one policy left behind when they were dropped. */
struct chans_floor {
    char *pattern;
    uint64_t floor;
    bool is_stored; /* a store knows it, also for what came before this run */
};

struct chans {
    struct map map;
    struct pools pools; /* what they stand in */
    struct policy_table policies;
    struct chans_floor *floors;
    uint32_t n_floors;
    uint64_t
        any_floor; /* of policies beyond META_FLOORS_MAX, and of those before these */
    bool any_by_reload; /* ... the latter */
    uint64_t first;     /* number: logs in memory have nothing from up to here */
    uint32_t held;      /* events of a durable log in memory, at most */
    bool in_redis;      /* ... what is older is kept by a cluster */
};

void chans_init(struct chans *cs);
void chans_deinit(struct chans *cs); /* no channel may have an audience */

struct chan *chans_find(const struct chans *cs, struct slice name); /* NULL */
/* The same of an event's channel, whose hash is known. */
struct chan *chans_find_of(const struct chans *cs, const struct frame *f);

/* Find or make (E_FULL, E_CHANNEL). 'hash' is map_hash of its name. */
int chans_get(struct chans *cs, struct slice name, struct chan **out);
int chans_get_hashed(struct chans *cs, struct slice name, uint64_t hash,
                     struct chan **out);

/* The channel of an event that came; it has a floor of its own from now on. */
struct chan *chans_of_frame(struct chans *cs, const struct frame *f);

/* Whether it is, or would be, one of this node alone. */
bool chans_is_local(const struct chans *cs, struct slice name);

/* What the set says of a channel; shared by all for which that is the same. */
const struct policy *chans_policy(struct chans *cs, struct slice name);

/* The floor of those channels of a durable policy that have none of their own. */
void chans_restore_floor(struct chans *cs, struct slice pattern, uint64_t floor);

/* What channels without an event of their own may have lost, with other policies: those of a
 * durable pattern, and those of any (an empty one). A store has to know it. */
uint64_t chans_floor_with(const struct chans *cs, const struct policy_set *set,
                          struct slice pattern);

/* The one after 'c', in no order; NULL: the first, and the end. */
struct chan *chans_next(const struct chans *cs, struct chan *c);

/* The floor a resume is judged by: of a state, from the time when it was a log. */
uint64_t chans_floor(const struct chans *cs, const struct chan *c);

/* What took the first event that a stream at a number misses, below that floor. */
enum lost_by chans_lost_by(const struct chans *cs, const struct chan *c, uint64_t at);

/* It is to be one of this node alone, or of all: what its readers had of it is left behind, as of a
 * channel that is dropped. Before it is configured so. */
void chans_leave(struct chans *cs, const struct chan *c, const struct policy *policy);

/* A channel without events and without subscribers goes. */
void chans_release(struct chans *cs, struct chan *c);

/* It holds nothing any more: its floor goes to its policy. It stays while it has
 * subscribers, and a durable log while the store has something of it. */
void chans_drop(struct chans *cs, struct chan *c);

/* The same of one that a cluster has, durable or not. */
void chans_forget(struct chans *cs, struct chan *c);

/* Take other policies (shares); returns the old ones, which the channels use until each is
 * configured anew: then deinit them. */
struct policy_table chans_set_policies(struct chans *cs, struct policy_set *set);

#endif
