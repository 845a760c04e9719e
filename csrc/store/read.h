/* Reading the store: pages of a channel's history, and idempotency keys, on a read-only
 * connection and a thread of their own, so that a replay delays no commit.
 *
 * A request is embedded in a struct of its owner and belongs to the store from store_read
 * until its done is called. */
#ifndef SLUICE_STORE_READ_H
#define SLUICE_STORE_READ_H

#include "base/list.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct store;

struct store_row {
    uint64_t seq;
    int64_t at_ms, expires_ms; /* wall clock; 0: never */
    bool remove;
    struct slice name, key, data;
};

/* Rows (place, upto] of one channel, above its floor, oldest first. */
struct store_page {
    struct store_row *rows; /* owned by the page, with what their slices point to */
    uint32_t n;
    /* The highest number that is not there any more, from the same moment as the rows; a
     * damaged row raises it past itself. Above 'above': something was missed: reset, and
     * go on from here. */
    uint64_t floor;
    uint64_t upto; /* everything up to here was given: the last row's, or the head */
    bool more;     /* there are rows above 'upto' up to the head */
    bool damaged;  /* something that should be there is not, or not as it was written */
    char *bytes;   /* what the rows point to */
};

enum store_read_kind { STORE_READ_PAGE, STORE_READ_KEY };

struct store_read {
    struct list node; /* the store's, as is queued_us */
    int64_t queued_us;
    enum store_read_kind kind;
    struct slice channel;
    /* a page */
    uint64_t above; /* rows above this place ... */
    uint64_t head;  /* ... up to the head that was released when it was asked for */
    uint32_t rows_max;
    uint32_t bytes_max; /* of names, keys and data; one row at least */
    /* Not 0: 'above' is set first, to the place above which lie so many of the newest rows up to
     * 'newest_head' ('newest_head' itself when there is none); UINT32_MAX: to the floor. Then
     * a floor above it says that something is damaged. */
    uint32_t newest;
    uint64_t newest_head;
    /* a key */
    struct slice key; /* an idempotency key */
    /* the answer */
    int err; /* 0; E_NOTFOUND: no such key; E_STORE: it cannot be read now; E_CLOSED */
    struct store_page page; /* owned by the request's owner: store_page_free */
    uint64_t seq;           /* the number of the event with that key */
    void (*done)(void *owner, struct store_read *r); /* [reader thread] */
    void *owner;
};

/* Queue a request (takes it until done). 0, E_BUSY (STORE_READS_MAX wait) or E_CLOSED.
 * [any thread] */
int store_read(struct store *s, struct store_read *r);

void store_page_free(struct store_page *p); /* NULL rows are fine; it is empty then */

#endif
