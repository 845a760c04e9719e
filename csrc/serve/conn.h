/* A connection: one socket and the HTTP conversation on it.
 *
 *     HEAD -> BODY -> WAIT -> HEAD …   requests, one after the other
 *                  \-> STREAM          an event stream: see outlet.h
 *     any  -> FLUSH -> LINGER          the last answer, then read on until the peer has it
 *
 * Only what is needed now is held: an idle connection has no buffers. Closing is put off
 * to the end of the turn (doomed), so nobody holds a pointer to a freed one.
 * [the worker's thread] */
#ifndef SLUICE_SERVE_CONN_H
#define SLUICE_SERVE_CONN_H

#include "base/buf.h"
#include "base/list.h"
#include "net/http_chunks.h"
#include "run/wheel.h"
#include "serve/request.h"

#include <ev.h>

struct outlet;
struct worker;

enum conn_phase { CONN_HEAD, CONN_BODY, CONN_WAIT, CONN_STREAM, CONN_FLUSH, CONN_LINGER };

struct conn {
    struct ev_io io;
    struct worker *worker;
    struct list node; /* in worker->conns or worker->doomed */
    struct wheel_timer timer;
    struct in6_addr ip; /* IPv4 mapped */
    enum conn_phase phase;
    bool trusted; /* came over the Unix socket */
    bool doomed, keep_alive, half_closed;
    int64_t since_ms; /* when the phase began, or its first byte came */
    struct buf in;    /* received and not yet used */
    uint32_t seen;    /* of in: looked at by the parser */
    uint32_t passed;  /* bytes read behind a stream's request or the last answer */
    struct buf out;   /* answers that wait */
    size_t out_sent;
    struct request *request; /* being read or answered */
    struct outlet *outlet;
};

/* Takes the socket. */
struct conn *conn_new(struct worker *w, int fd, const struct in6_addr *ip); /* borrows */

/* To be closed at the end of this turn; 'reason' is for the stream's log line. */
void conn_doom(struct conn *c, const char *reason);
void conn_free(struct conn *c); /* by the worker, when doomed */

void conn_on_timer(struct conn *c);
void conn_on_reply(struct conn *c, struct request *r); /* the app has answered */
void conn_drain(struct conn *c, int64_t window_ms);

/* Queue bytes and send what the socket takes. */
void conn_send_out(struct conn *c);
void conn_finish(struct conn *c);            /* everything is queued: flush, then close */
void conn_watch(struct conn *c, int events); /* EV_READ, EV_WRITE */
int conn_answer(struct conn *c, int status, const char *code, const char *message);

#endif
