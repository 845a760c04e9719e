/* One direction of a connection: bytes come in, and later, slower or in smaller pieces go
 * out, all of them, in order. A machine without a clock and without sockets: the times are
 * the caller's, in ms. Bounds: LAB_PIPE_BYTES, LAB_PIECES_MAX; a pipe without room is
 * not given more. [owner] */
#ifndef SLUICE_LAB_PIPE_H
#define SLUICE_LAB_PIPE_H

#include "base/bounds.h"
#include "base/slice.h"
#include "lab/faults.h"

enum pipe_end { PIPE_OPEN, PIPE_FIN, PIPE_RST };

struct pipe_piece {
    int64_t due;
    uint32_t n;
};

struct pipe {
    uint64_t random; /* what jitter is drawn from: set by the owner */
    char *bytes;     /* LAB_PIPE_BYTES; NULL until the first come */
    uint32_t from, n;
    uint32_t ready; /* of them, whose time has come */
    struct pipe_piece pieces[LAB_PIECES_MAX];
    uint32_t first, n_pieces;
    int64_t last_due;
    int64_t credit, credit_ms; /* thousandths of bytes that may go, as of then */
    enum pipe_end end;         /* what came behind the last byte */
};

/* How the network is now. */
struct pipe_now {
    int64_t ms;
    int64_t latency_ms, jitter_ms, hold_ms;
    int64_t bandwidth; /* 0: no limit */
    bool byte_at_a_time, stalled;
};

void pipe_free(struct pipe *p); /* its bytes; the pipe is empty and usable afterwards */

/* How many bytes it takes now: what a second brings, and some at least. */
uint32_t pipe_room(const struct pipe *p, int64_t bandwidth);

/* Take in at most pipe_room bytes (copies). 0 or E_NOMEM. */
int pipe_put(struct pipe *p, const struct pipe_now *now, struct slice bytes);

/* No more will come. */
void pipe_close(struct pipe *p, const struct pipe_now *now, enum pipe_end end);

/* What may go out now (borrows), and when to look again if it, or its first byte, went;
 * INT64_MAX: when more comes or the network changes. */
struct slice pipe_look(struct pipe *p, const struct pipe_now *now, int64_t *again);

/* So many of them went. */
void pipe_took(struct pipe *p, uint32_t n);

/* The end, when it may go out: all bytes before it have, and its time has come. */
enum pipe_end pipe_ended(struct pipe *p, const struct pipe_now *now);

#endif
