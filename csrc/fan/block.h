/* A block: what one stream is sent in one turn, gathered once for all streams that
 * stand at the same cursor.
 *
 * It holds whole events, and around them what each form writes there, so that one send() of
 * one stretch of memory carries it; it knows which stretch that is. A socket that takes
 * only a part pins the block, never the frames of a ring. Counted without atomics: a
 * block belongs to one thread. */
#ifndef SLUICE_FAN_BLOCK_H
#define SLUICE_FAN_BLOCK_H

#include "base/slice.h"
#include "fan/form.h"

#include <stdint.h>

enum stream_end {
    STREAM_GOES_ON,
    STREAM_BREAKS, /* FIN in the middle of the body: an error to the client, which comes back */
    STREAM_ENDS /* the end of the body, then FIN */
};

struct block {
    uint32_t refs;
    uint32_t n;                    /* bytes of events */
    uint32_t events;               /* how many, for statistics */
    enum stream_end end;           /* after this block the stream ends */
    struct form_range wire[FORMS]; /* what of 'room' is sent */
    char room[];                   /* FORM_BEFORE + n + FORM_AFTER */
};

/* Copies n bytes, and writes what the forms put around them. NULL when memory is out. */
struct block *block_new(const char *bytes, uint32_t n, enum stream_end end);
struct block *block_ref(struct block *b);
void block_unref(struct block *b);

/* The events alone, and what of them goes on the wire. */
static inline const char *block_bytes(const struct block *b) {
    return b->room + FORM_BEFORE;
}
static inline struct slice block_wire(const struct block *b, enum form_id form) {
    return slice_of(b->room + b->wire[form].at, b->wire[form].n);
}

/* Blocks alive in all threads. */
long block_live(void);

#endif
