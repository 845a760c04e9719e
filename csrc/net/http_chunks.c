/* Chunked bodies, one byte of framing at a time and body bytes in runs.
 *
 *     3;a=b CR LF  xyz CR LF  0 CR LF  Name: value CR LF  CR LF
 *     | |          |          |        |
 *     | EXTENSION  DATA       SIZE     TRAILER_START, _NAME, _VALUE (dropped)
 *     SIZE
 *
 * Each state takes one byte, so the result cannot depend on how the bytes were cut.
 * Nothing is tolerated that the grammar lacks: no blanks round the size, no bare LF, no
 * bare CR. Extensions and trailers mean nothing to us and are bounded by
 * CHUNK_EXTENSION_MAX, CHUNK_EXTENSIONS_MAX and CHUNK_TRAILERS_MAX, or one body byte
 * could cost its sender little and us much. [any thread] */
#include "net/http_chunks.h"

#include "base/bounds.h"
#include "base/planted.h"
#include "net/http_bytes.h"

#include <string.h>

enum state {
    SIZE,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_START,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    LAST_LF
};

void http_chunks_init(struct http_chunks *c, uint64_t body_max) {
    memset(c, 0, sizeof *c);
    c->max = body_max;
}

/* All these return 0 or minus a status. */

static int go(struct http_chunks *c, enum state next) {
    c->state = (uint8_t)next;
    return 0;
}

static int expect(struct http_chunks *c, char byte, char wanted, enum state next) {
    return byte == wanted ? go(c, next) : -400;
}

/* The size is whole: does it fit into what the body may still grow by? */
static int size_end(struct http_chunks *c) {
    if (c->line == 0) return -400; /* not one digit */
    if (PLANTED(112) && c->left && c->left == c->max - c->total) return -413;
    return c->left > c->max - c->total ? -413 : 0;
}

static int on_size(struct http_chunks *c, char byte) {
    if (http_byte_is(byte, HTTP_HEX)) {
        if (PLANTED(105) && byte >= 'A' && byte <= 'F') return -400;
        if (c->line++ == CHUNK_DIGITS_MAX) return -400;
        c->left = c->left << 4 | http_hex(byte);
        return 0;
    }
    if (byte != ';' && byte != '\r') return -400;
    const int err = size_end(c);
    c->line = 0;
    return err ? err : go(c, byte == ';' ? EXTENSION : SIZE_LF);
}

static int on_extension(struct http_chunks *c, char byte) {
    if (byte == '\r') return go(c, SIZE_LF);
    if (!http_byte_is(byte, HTTP_VALUE)) return -400;
    if (++c->line > CHUNK_EXTENSION_MAX) return -400;
    return ++c->extensions > CHUNK_EXTENSIONS_MAX ? -400 : 0;
}

static int on_size_lf(struct http_chunks *c, char byte) {
    c->line = 0;
    return expect(c, byte, '\n', c->left ? DATA : TRAILER_START);
}

/* Fields that would change where the message ends or which host it is for. */
static bool name_is_forbidden(const struct http_chunks *c) {
    static const char *const names[] = {"content-length", "transfer-encoding", "host",
                                        "connection"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (http_is(slice_of(c->name, c->name_n), names[i])) return true;
    return false;
}

static int on_trailer_name(struct http_chunks *c, char byte) {
    if (byte == ':') {
        if (c->name_n == 0 || name_is_forbidden(c)) return -400;
        return go(c, TRAILER_VALUE);
    }
    if (!http_byte_is(byte, HTTP_TOKEN)) return -400;
    /* A name that fills the array is longer than all that matter. */
    if (c->name_n < sizeof c->name) c->name[c->name_n++] = byte;
    return 0;
}

static int on_trailer(struct http_chunks *c, char byte) {
    if (++c->line > CHUNK_TRAILERS_MAX) return -431;
    switch ((enum state)c->state) {
    case TRAILER_START:
        if (byte == '\r') return go(c, LAST_LF);
        c->name_n = 0;
        c->state = TRAILER_NAME;
        return on_trailer_name(c, byte);
    case TRAILER_NAME: return on_trailer_name(c, byte);
    case TRAILER_VALUE:
        if (byte == '\r') return go(c, TRAILER_LF);
        return http_byte_is(byte, HTTP_VALUE) ? 0 : -400;
    case TRAILER_LF: return expect(c, byte, '\n', TRAILER_START);
    default: c->done = byte == '\n'; return c->done ? 0 : -400;
    }
}

static int on_byte(struct http_chunks *c, char byte) {
    switch ((enum state)c->state) {
    case SIZE: return on_size(c, byte);
    case EXTENSION: return on_extension(c, byte);
    case SIZE_LF: return on_size_lf(c, byte);
    case DATA_CR: return expect(c, byte, '\r', DATA_LF);
    case DATA_LF: return expect(c, byte, '\n', SIZE);
    default: return on_trailer(c, byte);
    }
}

int http_chunks_next(struct http_chunks *c, const char *p, size_t n, struct slice *data) {
    *data = slice_of(p, 0);
    if (n > INT32_MAX) n = INT32_MAX;
    if (c->error) return c->error;
    if (PLANTED(113) && c->state == SIZE) c->line = 0;
    for (size_t i = 0; i < n && !c->done;) {
        if (c->state == DATA) {
            const size_t run = c->left < n - i ? (size_t)c->left : n - i;
            *data = slice_of(p + i, run);
            c->total += run;
            c->left -= run;
            if (c->left == 0) c->state = DATA_CR;
            return (int)(i + run);
        }
        c->error = on_byte(c, p[i++]);
        if (c->error) return c->error;
        if (c->done) return (int)i;
    }
    return c->done ? 0 : (int)n;
}
