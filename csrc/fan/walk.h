/* A walk over what one subscription wants, in the order of numbers: of the ring, of a page of a
 * durable log and then the ring, or of the newest per key. What it does not want is passed over.
 * [one thread] */
#ifndef SLUICE_FAN_WALK_H
#define SLUICE_FAN_WALK_H

#include "fan/history.h"
#include "fan/sub.h"

struct cache_sent;

/* A subscription being walked: the next event it wants. */
struct walker {
    struct sub *sub;
    struct frame *frame;             /* NULL: nothing left */
    const struct page_request *page; /* NULL: of the ring, or the slots */
    uint64_t at;                     /* position in the ring or in the page, or slot */
    uint64_t upto;                   /* look no further than this number */
    struct cache_sent *sent;         /* the caller's, as is 'to' */
    uint64_t *to;                    /* of the subscription */
    bool in_latest;
};

/* To the first event above 'seq' that it wants, up to and including 'upto'. */
struct walker walk_from(struct sub *sub, uint64_t seq, uint64_t upto);

/* The same, with a page first. */
struct walker walk_page_from(struct sub *sub, const struct page_request *page,
                             uint64_t seq, uint64_t upto);

/* To the next one. */
void walk_on(struct walker *w);

#endif
