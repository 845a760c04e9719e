/* A plan: which channels a stream follows and how, as an object of its own that may
 * cross threads. Immutable and counted; all text lives in the same allocation.
 *
 * An option of a plan has its field here and is read in bind/l_aux.c; nothing between there
 * and where it acts names it. */
#ifndef SLUICE_FAN_PLAN_H
#define SLUICE_FAN_PLAN_H

#include "fan/filter.h"

#include <stdatomic.h>

#define REWIND_DEFAULT INT32_MIN /* what the channel's policy says */

/* What a plan says about one channel; borrowed. */
struct sub_spec {
    struct slice channel;
    struct filter_list types, keys;
    int32_t rewind;
    uint32_t period_ms; /* of a state; the longer of this and the policy's counts */
};

/* How the events of a feed's log become messages (feed.h). */
enum feed_kind { FEED_NONE, FEED_JSON, FEED_TEXT, FEED_BYTES };

/* What the plan of a feed says beside its one channel; borrowed. */
struct feed_spec {
    enum feed_kind kind;       /* FEED_NONE: it is a plan of streams */
    struct slice type;         /* of the bodies */
    uint32_t wait_ms;          /* of a long-poll that finds nothing */
    struct filter_list closes; /* names of events that close it */
};

/* What a plan says about the whole stream. */
struct plan_options {
    double heartbeat; /* seconds; < 0: the server's */
    double
        expires; /* its user is who they say until then: seconds since 1970; 0: for ever */
    bool plain;  /* no control events */
    struct feed_spec feed;
};

/* All that a plan says; borrowed. */
struct plan_spec {
    const struct sub_spec *subs;
    uint32_t n;
    struct plan_options options;
};

struct plan {
    atomic_uint refs;
    struct plan_options options;
    uint32_t n;
    struct sub_spec specs[];
};

/* A mark of what it follows and how: equal plans have equal ones, after a restart too. */
uint64_t plan_mark(const struct plan_spec *spec);

/* Copies the spec and all it points to. Owned; NULL when memory is out. */
struct plan *plan_new(const struct plan_spec *spec);
struct plan *plan_ref(struct plan *p);
void plan_unref(struct plan *p); /* NULL is fine */

#endif
