/* The events of one reader's stream, parsed as they come: as much of them as is counted.
 *
 * Lines end with LF or CRLF. In memory: an unfinished line. [one thread] */
#ifndef SLUICE_CROWD_EVENT_H
#define SLUICE_CROWD_EVENT_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum event_kind { EVENT_OTHER, EVENT_HELLO, EVENT_RESET, EVENT_SYNC, EVENT_BYE };

#define EVENT_REASON_MAX 24 /* bytes of one, with its end */

struct event_words {
    struct slice mark; /* see crowd_options */
    struct slice time;
};

struct event_state {
    struct buf line; /* its end has not come */
    enum event_kind kind;
    bool has_data, has_id, is_own;
    bool greets;                   /* the data may be those of a Sluice's hello */
    bool is_sluice;                /* its hello has come, or a bye in its place */
    char reason[EVENT_REASON_MAX]; /* why a bye; empty: it does not say */
    uint64_t id_hash;              /* of the id */
    uint64_t n;                    /* an own event's number */
    int64_t time_us;               /* when it was published; 0: that is not known */
    bool time_is_wall;             /* ... since 1970, else of the monotonic clock */
};

typedef void event_fn(void *context, const struct event_state *event);

/* Take bytes; 'fn' is called with each event that they complete. 0 or E_TOOBIG: a line has
 * no end. */
int event_feed(struct event_state *e, const struct event_words *words, struct slice bytes,
               event_fn *fn, void *context);

void event_deinit(struct event_state *e);

#endif
