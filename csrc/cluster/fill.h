/* A channel as it was loaded: its history and its newest values, put together from the pages of
 * one call or of several, and what was read behind them. [one thread] */
#ifndef SLUICE_CLUSTER_FILL_H
#define SLUICE_CLUSTER_FILL_H

#include "base/bounds.h"
#include "base/list.h"
#include "cluster/entry.h"
#include "cluster/scripts.h"

/* An entry with bytes of its own. */
struct fill_entry {
    struct list node;
    struct entry entry;
    char bytes[];
};

struct fill {
    uint64_t floor; /* nothing above it is missing in the history */
    uint64_t gone;  /* ... but what is paged, up to here: it is left to pages */
    bool is_paged;  /* HELD_EVENTS_MAX of the newest are enough, or HELD_BYTES_MAX */
    uint32_t held, held_bytes; /* so many there are */
    struct list events;        /* struct fill_entry: rising; marks too */
    struct list values;        /* ... the newest of each name and key, in no order */
    uint32_t n;                /* in both */
    uint64_t last;             /* the highest number in either, or of the channel */
    char kind;
    uint32_t ttl_s;
    struct slice channel;
    char name[];
};

/* Owned. */
struct fill *fill_new(struct slice channel, char kind, uint32_t ttl_s);
void fill_free(struct fill *f); /* NULL is fine */

/* An entry of the feed goes behind it (copies); what it has already does not. */
void fill_add(struct fill *f, const struct entry *e);

/* A load under way, of up to CLUSTER_LOAD_MAX channels. */
struct load_row {
    struct fill *fill; /* owned until loading_take says it is whole */
    uint64_t upto;     /* the moment of its first page */
    uint64_t oldest;   /* that came; 0: none did */
    uint64_t before;   /* of the next page; as script_load has it */
    char cursor[24];
    bool begun, whole;
};

struct loading {
    struct load_row rows[CLUSTER_LOAD_MAX];
    uint32_t n;
};

void loading_drop(struct loading *l); /* what it has, which nobody gets */

/* Ask for the pages that are missing. 0 or E_NOMEM. */
int loading_ask(const struct loading *l, struct buf *out, const struct scripts *s,
                const struct script_proof *p);

/* Take in what came: SCRIPT_OK or what is wrong; *whole: nothing is missing. */
enum script_answer loading_take(struct loading *l, const struct reply *r, bool *whole);

#endif
