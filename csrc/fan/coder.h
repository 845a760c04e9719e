/* Coders: a thread's compressors. A block is compressed once, for all streams that share it.
 *
 * Each result stands for itself: it is made with fresh state, refers to nothing before it and ends
 * on a byte, so it may follow any other on any connection, and a connection has no state.
 *
 *     gzip   1f 8b 08 …  | deflate blocks, full flush | 00 02 00 fd ff ":" LF | …
 *            form's begin  events of a gather           a heartbeat, stored     no trailer
 *     zstd   a frame for each gather, its window no larger than it
 *
 * No trailer: its sum would be a state of each connection, clients do without, and some lose the
 * last event of a body whose sum is wrong. */
#ifndef SLUICE_FAN_CODER_H
#define SLUICE_FAN_CODER_H

#include "base/buf.h"
#include "base/slice.h"

/* Without names is one of them, although it is no shorter. */
enum coding { CODING_NONE, CODING_GZIP, CODING_ZSTD, CODING_UNNAMED, CODINGS };

/* Zero-initialised it has no memory: that comes with the first use, and stays. [one thread] */
struct coder {
    struct z_stream_s *deflate;
    struct ZSTD_CCtx_s *zstd;
    struct buf out; /* the last result */
    int level;      /* of deflate, now */
};

void coder_deinit(struct coder *c);

/* Compress what is no more than the largest block; the result is c->out, until the next call. 0 or
 * E_NOMEM. Nothing becomes nothing. */
int coder_code(struct coder *c, enum coding coding, struct slice in);

#endif
