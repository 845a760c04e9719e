/* Chunks, bare bytes, and what is compressed; see form.h. */
#include "fan/form.h"

#include "base/decimal.h"

#include <string.h>

static int add_head(struct buf *b, uint32_t retry_ms) {
    if (retry_ms == 0) return buf_adds(b, ":ok\n");
    return buf_addf(b, ":ok\nretry: %u\n", retry_ms);
}

static int add_heartbeat(struct buf *b) {
    return buf_adds(b, ":\n");
}

/* ---- Chunked ------------------------------------------------------------------------ */

#define CRLF "\r\n"
#define LAST_CHUNK "0\r\n\r\n"
_Static_assert(FORM_AFTER == sizeof CRLF - 1 + sizeof LAST_CHUNK - 1, "both fit");

/* An empty chunk would be the last. */
static struct form_range put_chunk(char *room, uint32_t n) {
    if (n == 0) return (struct form_range){FORM_BEFORE, 0};
    char *events = room + FORM_BEFORE, *at = hex_before(events - 2, n);
    events[-2] = '\r';
    events[-1] = '\n';
    events[n] = '\r';
    events[n + 1] = '\n';
    return (struct form_range){(uint32_t)(at - room), (uint32_t)(events - at) + n + 2};
}

static struct form_range put_last_chunk(char *room, struct form_range range) {
    memcpy(room + range.at + range.n, LAST_CHUNK, sizeof LAST_CHUNK - 1);
    range.n += sizeof LAST_CHUNK - 1;
    return range;
}

/* ---- Bare --------------------------------------------------------------------------- */

static struct form_range put_nothing(char *room, uint32_t n) {
    (void)room;
    return (struct form_range){FORM_BEFORE, n};
}

static struct form_range put_no_end(char *room, struct form_range range) {
    (void)room;
    return range;
}

/* ---- Compressed --------------------------------------------------------------------- */

/* Deflate, no name, no time, of an unknown system (RFC 1952): a chunk of its own. */
#define GZIP_HEADER "\x1f\x8b\x08\0\0\0\0\0\0\xff"
#define GZIP_BEGIN "a\r\n" GZIP_HEADER CRLF

const struct form *form_of(enum form_id id) {
    static const struct form forms[FORMS] = {
        [FORM_CHUNKED] = {{0}, add_head, put_chunk, add_heartbeat, put_last_chunk},
        [FORM_GZIP] = {{GZIP_BEGIN, sizeof GZIP_BEGIN - 1},
                       add_head,
                       put_chunk,
                       add_heartbeat,
                       put_last_chunk},
        [FORM_ZSTD] = {{0}, add_head, put_chunk, add_heartbeat, put_last_chunk},
        [FORM_UNNAMED] = {{0}, add_head, put_chunk, add_heartbeat, put_last_chunk},
        [FORM_BARE] = {{0}, add_head, put_nothing, add_heartbeat, put_no_end},
        [FORM_GZIP_BARE] = {{GZIP_HEADER, sizeof GZIP_HEADER - 1},
                            add_head,
                            put_nothing,
                            add_heartbeat,
                            put_no_end},
        [FORM_ZSTD_BARE] = {{0}, add_head, put_nothing, add_heartbeat, put_no_end},
        [FORM_UNNAMED_BARE] = {{0}, add_head, put_nothing, add_heartbeat, put_no_end}};
    return &forms[id];
}
