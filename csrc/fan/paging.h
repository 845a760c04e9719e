/* What a stream has that is brought pages of durable logs; history.h works on it.
 * [one thread] */
#ifndef SLUICE_FAN_PAGING_H
#define SLUICE_FAN_PAGING_H

#include "fan/stream.h"

struct page_request;

/* A subscription that starts with so many of its newest events, some of which only the store
 * has: where that is, the answer to its first page says. 0: it starts at its place, and the
 * answer says whether what follows is whole. */
struct place {
    struct place *next;
    struct sub *sub;
    uint32_t events;
};

/* A stream that needs pages. */
struct paging {
    struct list node; /* in fan->page_queue or fan->page_rest, or in none */
    struct stream *stream;
    struct page_request *asked; /* under way; NULL */
    struct page_request *pages; /* here, one of each subscription at most */
    struct place *places;       /* that are not known yet */
    int64_t again_ms;           /* in page_rest: when it asks again */
    uint32_t failed;            /* pages that could not be read, in a row */
    bool has_turn;
    bool awaits; /* a page that is needed is not here */
};

/* Whether it can go no further before a page comes. */
static inline bool paging_awaits(const struct stream *s) {
    return s->paging && s->paging->awaits;
}

/* Whether it waits for a page, or has one that is not used up. */
static inline bool paging_replays(const struct stream *s) {
    const struct paging *p = s->paging;
    return p && (p->awaits || p->pages || p->places);
}

#endif
