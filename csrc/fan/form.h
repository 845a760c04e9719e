/* Forms: how what a stream is sent goes on the wire. Cursors, blocks and notes know nothing
 * of it.
 *
 * The bytes of events are the same in all forms that there are; a form says what a body begins
 * with, what goes around a block of events, what a heartbeat is, and what ends a body:
 *
 *     chunked     1a CRLF | event: x LF data: y LF LF ... | CRLF | 0 CRLF CRLF
 *     HTTP/1.0            | event: x LF data: y LF LF ... |
 *                 event     block_bytes                     event  end
 *
 * A block is shared by streams of all forms, so it has room for the longest of each. */
#ifndef SLUICE_FAN_FORM_H
#define SLUICE_FAN_FORM_H

#include "base/buf.h"

#include <stdint.h>

#define FORM_BEFORE 8 /* bytes of room in front of the events: six hex digits and CRLF */
#define FORM_AFTER 7  /* behind them: CRLF, and the last chunk */

enum form_id {
    FORM_CHUNKED, /* HTTP/1.1: each block is a chunk (RFC 9112, 7.1) */
    FORM_HTTP10,  /* bare; the end of the connection ends the body */
    FORMS
};

/* Part of a block's room, in bytes. */
struct form_range {
    uint32_t at, n;
};

struct form {
    /* Append what a body begins with: a comment, and when to come back (0: not said). 0 or
     * E_NOMEM. */
    int (*head)(struct buf *b, uint32_t retry_ms);

    /* Write around the n bytes of events at 'room' + FORM_BEFORE. Returns what goes on the
     * wire. */
    struct form_range (*event)(char *room, uint32_t n);

    /* Append a heartbeat. 0 or E_NOMEM. */
    int (*heartbeat)(struct buf *b);

    /* Write the end of the body behind that range. Returns both. */
    struct form_range (*end)(char *room, struct form_range range);
};

const struct form *form_of(enum form_id id);

#endif
