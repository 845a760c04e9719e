/* A block: what one stream is sent in one turn, gathered once for all streams that
 * stand at the same cursor.
 *
 * It holds whole events, and around them what each form writes there, so that one send() of
 * one stretch of memory carries it; it knows which stretch that is. A socket that takes
 * only a part pins the block, never the frames of a ring. Counted without atomics: a
 * block belongs to one thread.
 *
 * Compressed, it is another block that hangs on it: made when the first stream of that form is
 * sent it, gone with it. */
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
    int64_t at_us;                 /* when the oldest was accepted; 0: unknown */
    enum stream_end end;           /* after this block the stream ends */
    struct form_range wire[FORMS]; /* what of 'room' is sent */
    struct block *coded[CODINGS];  /* the same, compressed; NULL: not yet */
    char room[];                   /* FORM_BEFORE + n + FORM_AFTER */
};

/* Copies n bytes, and writes what the forms put around them. NULL when memory is out. */
struct block *block_new(const char *bytes, uint32_t n, enum stream_end end);

/* Compress its bytes for the streams of a form, if the form wants that and nobody did. Returns
 * whether they were compressed now, or E_NOMEM. */
int block_code(struct block *b, enum form_id form, struct coder *coder);
struct block *block_ref(struct block *b);
void block_unref(struct block *b);

/* The events alone; and what goes on the wire, whose form it was compressed for. */
static inline const char *block_bytes(const struct block *b) {
    return b->room + FORM_BEFORE;
}
static inline struct slice block_wire(const struct block *b, enum form_id form) {
    enum coding coding = form_coding(form);
    const struct block *sent = coding ? b->coded[coding] : b;
    return slice_of(sent->room + sent->wire[form].at, sent->wire[form].n);
}

/* Blocks alive in all threads. */
long block_live(void);

#endif
