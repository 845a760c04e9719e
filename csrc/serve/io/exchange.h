/* An exchange: one request and its answer on a connection of HTTP/2.
 *
 * HTTP/1.1 has one exchange after the other, and its conn is both, the connection and the exchange that
 * goes on. Over HTTP/2 there are many at a time: each is a conn of its own, without a socket, that
 * another one carries (mux.h). All that is asked and answered goes the same ways:
 *
 *     its head comes as text into talk->in, its body behind it   -> input.h
 *     what it queues in talk->out or its outlet                  -> pulled when there is room
 *
 * It is full when its own window is, whatever others have: the result of a write is known when the
 * frames of its connection are written, at the end of the turn (SOCK_QUEUED, as with a ring). It
 * has one request. Every end is the end of its body (END_STREAM), but for an answer that is cut off and
 * a stream that takes nothing: these are reset. [the worker's thread] */
#ifndef SLUICE_SERVE_IO_EXCHANGE_H
#define SLUICE_SERVE_IO_EXCHANGE_H

#include "net/h2.h"
#include "net/http_parse.h"
#include "serve/io/conn.h"

struct exchange {
    struct conn conn;     /* 'carried' is set in it */
    struct list node;     /* in mux->exchanges */
    struct list due;      /* in mux->due: it is told what became of its write */
    struct conn *carrier; /* NULL: gone before it */
    struct h2_stream stream;
    uint32_t pulled;     /* and not told yet */
    uint32_t uncredited; /* bytes of its body that the client has no new window for */
    bool body;           /* bytes may follow its head */
    bool chunked;        /* ... and nobody said how many: they are put down in chunks */
    bool answered;       /* the head of its answer is out */
    bool ended;          /* so is the end */
    bool closed;         /* HTTP/2 is done with it */
    bool waits;          /* for room to send */
};

extern const struct h2_ops exchange_ops; /* their owner: the carrier */

/* What it has to send goes when there is room: SOCK_QUEUED, or a negative code. 'block' is its stream's: the
 * only one of its connection has it written at once, and gets its size. */
ssize_t exchange_send(struct conn *c, struct slice block);

/* Tell it what was pulled. */
void exchange_report(struct exchange *e);

/* The head that was parsed from its text. */
void exchange_take_head(struct conn *c, struct http_head *head);

/* What of its body was used may be followed by more. */
void exchange_watch(struct conn *c);

/* The connection; NULL: it is gone. */
const struct conn *exchange_carrier(const struct conn *c);

/* Whether its carrier's socket is what holds it up. */
bool exchange_is_held_up(const struct conn *c);

/* It goes to another thread with its connection, the only one that that carries: what is left of it is
 * in *out, and it is freed. And there it goes on. */
void exchange_pack(struct conn *c, struct exchange *out);
struct conn *exchange_unpack(struct conn *carrier, const struct exchange *packed);

void exchange_on_doom(struct conn *c, enum end_cause cause);
void exchange_free(struct conn *c);

#endif
