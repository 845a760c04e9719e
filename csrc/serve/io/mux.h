/* A connection of HTTP/2: a conn that carries exchanges (exchange.h).
 *
 *     CONN_HEAD --- ALPN h2, or the preface with --h2c ---> CONN_MUX ---> CONN_FLUSH -> CONN_LINGER
 *
 * What comes goes through net/h2.h to its exchanges. What they have to send is written once a turn, when
 * all of them have said so: frames of many exchanges in one record of TLS or one send(). What the
 * socket does not take waits in talk->out, one record of it, and nothing more is framed before that
 * is out.
 *
 * It ends by GOAWAY: when nobody has asked for anything for the idle timeout, when the server stops, when
 * its window is used up for the stall timeout, when a request is told for too long, and for floods. A peer
 * that is silent is asked by a PING. [the worker's thread] */
#ifndef SLUICE_SERVE_IO_MUX_H
#define SLUICE_SERVE_IO_MUX_H

#include "net/h2.h"
#include "serve/io/conn.h"

struct exchange;

struct mux {
    struct conn *conn;
    struct h2 *h2;         /* owned */
    struct list dirty;     /* in worker->muxes: something is to be written, or told */
    struct list exchanges; /* all, the oldest first */
    struct list due;       /* those that are told what became of their write */
    uint32_t n;            /* exchanges */
    /* Since when: 0 if it is not so. */
    int64_t idle_ms, amid_ms, full_ms, asked_ms, announced_ms;
    int64_t heard_ms;
    uint64_t sent;    /* bytes of data when it was seen last whether it is full */
    struct conn *led; /* an exchange whose request is another thread's; NULL */
    struct lane *leads;
    bool stirred;           /* more than what its exchanges send may have changed */
    enum end_reason reason; /* what its streams end with */
    enum end_cause cause;
};

/* It speaks HTTP/2 from here on; what it has received belongs to that. */
void mux_begin(struct conn *c);

void mux_receive(struct conn *c, struct slice bytes);

/* Its exchanges have something to send, or are told what became of it, at the end of this turn. */
void mux_queue(struct conn *c);

/* ... and the connection itself may have changed. */
void mux_mark(struct conn *c);

/* A body's bytes, from the only exchange it has, while nothing else is to be written: their number. 0: at
 * the end of this turn, as all others; or negative. */
ssize_t mux_send_now(struct conn *c, struct h2_stream *s, struct slice bytes);

/* Write what all have, and tell what was taken. */
void muxes_write(struct worker *w);

/* The request of this exchange is another thread's: it goes there with its connection, when that carries
 * nothing else at the end of this turn; else it is asked again here. False: it carries more already. */
bool mux_lead(struct conn *exchange, struct lane *to);

/* That connection has come. */
void mux_arrive(struct conn *c, const struct exchange *packed);

void mux_lost_one(struct conn *c, const struct conn *exchange);
void mux_drain(struct conn *c);
int64_t mux_due_ms(const struct conn *c);
void mux_on_timer(struct conn *c);
void mux_on_doom(struct conn *c, enum end_reason reason, enum end_cause cause);
void mux_free(struct conn *c);

#endif
