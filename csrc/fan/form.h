/* Forms: how what a stream is sent goes on the wire. Cursors, blocks and notes know nothing
 * of it.
 *
 * A form says what a body begins with, what goes around a block of events, what a heartbeat is, what
 * ends a body, and whether its blocks are compressed (coder.h):
 *
 *     chunked      1a CRLF | event: x LF data: y LF LF ... | CRLF | 0 CRLF CRLF
 *     bare                 | event: x LF data: y LF LF ... |
 *     gzip, zstd   12 CRLF | (the same, compressed)        | CRLF | 0 CRLF CRLF
 *                  event     block_bytes                     event  end
 *
 * A block is shared by streams of all forms, so it has room for the longest of each. */
#ifndef SLUICE_FAN_FORM_H
#define SLUICE_FAN_FORM_H

#include "base/buf.h"
#include "fan/coder.h"

#include <stdbool.h>
#include <stdint.h>

#define FORM_BEFORE 8 /* bytes of room in front of the events: six hex digits and CRLF */
#define FORM_AFTER 7  /* behind them: CRLF, and the last chunk */

enum form_id {
    FORM_CHUNKED, /* HTTP/1.1: each block is a chunk (RFC 9112, 7.1) */
    FORM_GZIP,    /* each block is a chunk, compressed on its own */
    FORM_ZSTD,
    FORM_UNNAMED, /* chunked, and without names (unnamed.h) */
    /* The same without chunks: of HTTP/1.0, where the end of the connection ends the body, and of
     * HTTP/2, which has frames. */
    FORM_BARE,
    FORM_GZIP_BARE,
    FORM_ZSTD_BARE,
    FORM_UNNAMED_BARE,
    FORMS
};

static inline enum form_id form_without_chunks(enum form_id id) {
    return id < FORM_BARE ? (enum form_id)(id + FORM_BARE) : id;
}

/* Part of a block's room, in bytes. */
struct form_range {
    uint32_t at, n;
};

/* How the blocks of a form are compressed. */
static inline enum coding form_coding(enum form_id id) {
    static const enum coding codings[] = {CODING_NONE, CODING_GZIP, CODING_ZSTD,
                                          CODING_UNNAMED};
    return codings[id % FORM_BARE];
}
static inline bool form_compresses(enum form_id id) {
    enum coding coding = form_coding(id);
    return coding == CODING_GZIP || coding == CODING_ZSTD;
}

struct form {
    /* What goes before the first block of a body, as it is sent: the header of gzip. */
    struct slice begin;

    /* Append what a stream begins with: a comment, and when to come back (0: not said). 0 or
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
