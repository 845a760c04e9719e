/* Decoders: bodies that others compressed, read as their bytes come.
 *
 *     decoder_feed(d, bytes)   what came waits in it
 *     decoder_read(d, out, n)  at most n bytes of what that makes
 *
 * A byte may become a thousand, or with zstd a hundred thousand: so the reader says how much it
 * takes, and what is not read yet stays compressed. It holds what it was fed and a window of 32 KB
 * (gzip) or up to 8 MB (zstd; RFC 9659). A trailer is checked where there is one. [one thread] */
#ifndef SLUICE_EDGE_DECODER_H
#define SLUICE_EDGE_DECODER_H

#include "base/buf.h"

#include <stdbool.h>

enum decoder_coding { DECODER_GZIP, DECODER_ZSTD };

/* Zero-initialised it is closed. */
struct decoder {
    struct z_stream_s *gzip;
    struct ZSTD_DCtx_s *zstd;
    struct buf in; /* fed and not read yet, but for the first 'used' bytes */
    size_t used;
    bool
        members; /* a body of gzip may have several (RFC 1952, 2.2); no browser reads them */
    int err;     /* it is known to be something else, or memory was out */
    bool whole; /* what came ends where a block, a frame or the body does */
};

int decoder_init(struct decoder *d, enum decoder_coding coding,
                 bool members); /* 0, E_NOMEM */
void decoder_deinit(struct decoder *d);

static inline bool decoder_is_open(const struct decoder *d) {
    return d->gzip || d->zstd;
}

/* Add what came (copies). 0 or E_NOMEM. */
int decoder_feed(struct decoder *d, struct slice bytes);

/* Append at most so many bytes of what that makes. 1: there may be more; 0: that is all of what
 * came; E_INVAL: it is something else, from here on; E_NOMEM. */
int decoder_read(struct decoder *d, struct buf *out, size_t most);

#endif
