/* What a durable log has beyond memory: pages of it, for streams whose place lies below what
 * the ring holds.
 *
 * fan knows no store. A page is asked for through fan_history.read, and comes back by
 * history_answer on the same thread, later. While it is under way nothing passes it: the
 * merge of the stream ends at that place (fan/gather.c). A page covers (above, upto]; what
 * is newer is in the ring, or in the next page.
 *
 *      floor        place          gone              head
 *        |  rows      |--- page ---|   ring            |
 *
 * A newcomer that shall get the newest n, of which memory has fewer, or all there is, does not
 * know where it starts: its first question is for the newest n ('newest'), and the answer says
 * above which number they lie. Its hello waits for that, since it says the same. So does the
 * hello of a client that comes back to what only the store has: whether that is whole, the
 * floor that its first page brings says.
 *
 * A stream has one page under way. HISTORY_TURNS_MAX streams of a thread have a turn to read
 * pages; the others wait, in order. A stream whose socket is full gives its pages and its
 * turn back. A page that cannot be read is asked for again, and after HISTORY_TRIES_MAX
 * times its channel gets a reset. [one thread] */
#ifndef SLUICE_FAN_HISTORY_H
#define SLUICE_FAN_HISTORY_H

#include "fan/paging.h"

/* A question, and its answer. */
struct page_request {
    /* Asked: events of the channel above 'above', up to and including 'upto', which was
     * released before. */
    struct slice channel;
    uint64_t above, upto;
    uint32_t events_max, bytes_max; /* of names, keys and data; one event at least */
    /* Not 0: above all but so many of those up to 'joined', or above the floor (UINT32_MAX).
     * That place comes back in 'above': 'joined' when there are none; not below the floor. */
    uint32_t newest;
    uint64_t joined;
    /* Answered. */
    int err;               /* not 0: it could not be read now */
    struct frame **frames; /* rising; from mem, with a reference each: the fan's */
    uint32_t n;
    uint64_t
        floor; /* the highest number that is gone, from the same moment as the events */
    uint64_t given; /* all there is up to here was given: at most 'upto' */
    /* For who answers. */
    struct message message; /* its way back to this thread */
    void *arg;
    /* The fan's. */
    struct page_request *next; /* of the same stream: pages that are here */
    struct paging *paging;     /* NULL: the stream has gone meanwhile */
    struct sub *sub;           /* NULL: it does not want it any more */
    char name[];
};

struct fan_history {
    /* Read a page; history_answer follows, never from within (takes r). Not 0: it was not
     * taken. */
    int (*read)(void *owner, struct page_request *r);
    void *owner;
};

/* A subscription, new on its stream, starts with the newest events up to where it joined, as
 * many as these (UINT32_MAX: all). Until its place is known it 'seeks'. */
void history_seek(struct sub *sub, uint32_t events);

/* A subscription, new on its stream, goes on where the store has to say whether something is
 * missing. The stream 'seeks' until its first page is here. */
void history_judge(struct sub *sub);

/* A page is there, or could not be read (takes r). */
void history_answer(struct fan *fan, struct page_request *r);

/* Free a request that is not answered, at the end of its thread: before fan_deinit, after
 * all streams have gone. */
void history_discard(struct fan *fan, struct page_request *r);

/* Streams that wait after an error ask again (fan_flush calls it); and when that is the next
 * time (monotonic ms; INT64_MAX: none waits). */
void history_tick(struct fan *fan);
int64_t history_next(const struct fan *fan);

/* ---- For gather.c ------------------------------------------------------------------- */

/* Whether the next events of a subscription that stands at 'at' are not in memory, but in
 * the store. */
static inline bool history_has(const struct sub *sub, uint64_t at) {
    const struct chan *c = sub_chan(sub);
    return c->kept->gone > at && chan_is_paged(c) && sub->audience->last > at;
}

/* The page that holds what follows 'at'; NULL: it is not here. */
struct page_request *history_page(const struct stream *s, const struct sub *sub,
                                  uint64_t at);

/* After a visit: free what is used up, and ask for what is needed. */
void history_ask(struct stream *s);

/* ---- For the stream ----------------------------------------------------------------- */

void history_pause(struct stream *s); /* its socket is full */
void history_leave(struct stream *s); /* it goes */
/* The epoch ends that its pages are of: it asks again. Its hello, if that waits, is of this epoch still. */
void history_void(struct stream *s);
void history_forget(struct sub *sub); /* it goes, or its channel becomes something else */
/* Its channel becomes a memory channel, of the same kind or another kind of log: notify of what
 * only the store has and it has not got. While the channel is what it was. */
void history_end(struct sub *sub);
void history_cut(struct sub *sub);

#endif
