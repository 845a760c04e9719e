/* Top: which clients and which channels were sent most in the last minute, looked for in slices
 * while somebody asks.
 *
 * What a client and a channel were sent so far is counted anyway. A round looks at all of them
 * once, a few in a turn, and notes by how much each has grown since the round before; the last
 * TOP_STEPS rounds together are the minute. Who was not there in a round is forgotten at its end.
 * Rounds are begun by who asks, and cost nothing when nobody does. [app] */
#ifndef SLUICE_SERVE_APP_TOP_H
#define SLUICE_SERVE_APP_TOP_H

#include "base/bounds.h"
#include "base/map.h"

#include <stdbool.h>
#include <stdint.h>

struct server;
struct mark;

/* The greatest first. Names are borrowed until the next round begins. */
struct top_row {
    struct slice name;
    uint64_t bytes;
};

struct top_list {
    struct map marks;
    struct top_row best[TOP_MAX];
    uint32_t n;
    uint32_t left_out; /* in this round: there were TOP_MARKS_MAX already */
};

enum top_phase {
    TOP_CLIENTS,
    TOP_CHANNELS,
    TOP_FORGET_CLIENTS,
    TOP_FORGET_CHANNELS,
    TOP_DONE
};

struct top {
    struct top_list clients, channels;
    uint32_t round;
    enum top_phase phase;
    size_t bucket;              /* where it goes on */
    uint32_t *routes, n_routes; /* clients by route id, of the round that runs */
};

struct top *top_new(void);    /* owned */
void top_free(struct top *t); /* NULL is fine */

/* Begin a round. The lists are whole when it has ended, and not while it does. */
void top_begin(struct top *t);

/* Look at so many clients and channels, or a few more. True: the round has ended. */
bool top_look(struct top *t, const struct server *s, uint32_t most);

#endif
