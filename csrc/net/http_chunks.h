/* Strict incremental decoder of chunked request bodies, RFC 9112 section 7.1.
 * A struct of a few words per connection; no allocation. [any thread] */
#ifndef SLUICE_NET_HTTP_CHUNKS_H
#define SLUICE_NET_HTTP_CHUNKS_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_chunks {
    bool done;      /* the last chunk and the trailers were read */
    uint64_t total; /* bytes of body so far */

    uint64_t max;        /* of the body */
    uint64_t left;       /* of the chunk */
    uint32_t line;       /* digits, extension or trailer bytes of this chunk so far */
    uint32_t extensions; /* bytes of extensions of all chunks */
    int error;           /* minus the status, once something was wrong */
    uint8_t state;
    uint8_t name_n; /* of the trailer's name */
    char name[18];  /* its start */
};

/* Begin a body of at most 'body_max' bytes. */
void http_chunks_init(struct http_chunks *c, uint64_t body_max);

/* Decode from p[0..n) up to the end of one run of body bytes, which 'data' receives
 * (borrows from p; empty when this call met framing only).
 *
 * > 0: so many bytes were used; call again with the rest unless c->done.
 *   0: more bytes are needed (n is 0), or the body is done: what follows belongs to the
 *      next request.
 * < 0: minus the status to answer before the connection closes: 400, 413 as soon as a
 *      chunk's size says so, 431 (trailers). Later calls repeat it. */
int http_chunks_next(struct http_chunks *c, const char *p, size_t n, struct slice *data);

#endif
