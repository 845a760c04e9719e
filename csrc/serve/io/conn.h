/* A connection: one socket and the HTTP conversation on it. Two kinds have no socket: the home of a client
 * that polls (poll.h), and an exchange of HTTP/2 (exchange.h), which a connection carries.
 *
 *     HEAD -> BODY -> WAIT -> HEAD …   requests, one after the other
 *                  \-> POLL -> HEAD …   one that waits for events: see poll.h
 *                  \-> STREAM          an event stream: see outlet.h
 *     HEAD -> MUX                      HTTP/2: see mux.h
 *     any  -> FLUSH -> LINGER          the last answer, then read on until the peer has it
 *
 * Whatever happens to it changes its state and ends in conn_go_on, which does what can be
 * done and then works out from the state alone what its socket is watched for and when it
 * is looked at next: nothing else starts or stops reading, or sets a time.
 *
 * Only what is needed now is held. What HTTP needs (the talk) ends when a stream has sent
 * its head; what a stream needs (the outlet) lies inside, so that one idle stream is one
 * small piece of memory. Closing is put off to the end of the turn (doomed), so nothing
 * holds a pointer to a freed one. [the worker's thread] */
#ifndef SLUICE_SERVE_IO_CONN_H
#define SLUICE_SERVE_IO_CONN_H

#include "base/buf.h"
#include "base/list.h"
#include "net/http_chunks.h"
#include "run/wheel.h"
#include "serve/io/outlet.h"
#include "serve/request.h"

#include <ev.h>

struct worker;
struct tls;

enum conn_phase {
    CONN_HEAD,
    CONN_BODY,
    CONN_WAIT,
    CONN_POLL,
    CONN_STREAM,
    CONN_FLUSH,
    CONN_LINGER,
    CONN_MUX
};

struct poll;
struct feeding;
struct mux;

struct talk {
    struct in6_addr ip; /* IPv4 mapped */
    int64_t since_ms;   /* when the phase began, or its first byte came */
    struct buf in;      /* received and not yet used */
    struct buf out;     /* answers that wait, or the head of a stream */
    size_t out_sent;
    struct static_file
        *file; /* the body behind them; while it is there nothing is added */
    size_t file_sent;
    struct request *request; /* being read or answered */
    struct poll *poll;       /* whose answer it waits for */
    struct feeding *feeding; /* its stream collects a page of a feed; NULL */
    struct mux *mux;         /* it carries exchanges; NULL */
    uint32_t scanned;        /* of in: looked at by the parser, which wants more */
    uint32_t spare;          /* bytes of a body that lingering drops before it counts, */
    uint32_t spare_seen;     /* ... and when that was looked at last */
};

/* In the order of use: a delivery touches what stands from the socket on. */
struct conn {
    struct list node; /* in worker->conns or worker->doomed */
    struct wheel_timer timer;
    struct ev_io io;   /* its data: the worker */
    struct talk *talk; /* NULL: a stream, and its head is out */
    /* When the socket took something, or began to be full: the clock's low 32 bits, for
     * differences; and what the kernel held when that was looked at. */
    uint32_t tx_ms, held;
    uint16_t passed; /* bytes read behind a stream's request or the last answer */
    enum conn_phase phase : 4;
    bool trusted : 1; /* came over the Unix socket */
    bool scraper : 1; /* came over the port for metrics */
    bool doomed : 1, keep_alive : 1, half_closed : 1;
    bool streams : 1;     /* its outlet is in use */
    bool queued : 1;      /* the result of a write is awaited: see net/sock.h */
    bool polls : 1;       /* has no socket: the home of a client that polls */
    bool moves : 1;       /* doomed here: goes to another thread */
    bool secure : 1;      /* over TLS: see secure.h */
    bool carried : 1;     /* has no socket: an exchange of HTTP/2 */
    bool asked : 1;       /* the head of a request came */
    bool only_leaves : 1; /* watched by hangups.h, not by the loop */
    struct outlet outlet;
};

static inline struct worker *conn_worker(const struct conn *c) {
    return c->io.data;
}

/* Bytes of answers, or of a stream's head, that the socket has not taken. */
static inline size_t conn_unsent(const struct conn *c) {
    const struct talk *t = c->talk;
    if (!t) return 0;
    return t->out.n - t->out_sent + (t->file ? t->file->body.n - t->file_sent : 0);
}

/* What it carries exchanges with; NULL. */
static inline struct mux *conn_mux(const struct conn *c) {
    return c->talk ? c->talk->mux : NULL;
}

/* What collects a page for its request; NULL. */
static inline struct feeding *conn_feeding(const struct conn *c) {
    return c->talk ? c->talk->feeding : NULL;
}

/* Answers wait for each other: while so much is unsent nothing more is parsed. */
static inline bool conn_is_full(const struct conn *c) {
    return c->talk->file || conn_unsent(c) > OUTPUT_BYTES_MAX;
}

/* Part of making one: in the worker's list, with a socket (takes) or without (-1). */
void conn_init(struct conn *c, struct worker *w, int fd);

/* Takes the socket. To be followed by conn_go_on. */
struct conn *conn_new(struct worker *w, int fd, const struct in6_addr *ip); /* borrows */

/* The same with a session on it, whose handshake is done (takes); it speaks what that agreed to. */
struct conn *conn_new_secure(struct worker *w, int fd, const struct in6_addr *ip,
                             struct tls *tls);

/* Whether it came over TLS, and the socket under it, its own or its carrier's. */
bool conn_is_secure(const struct conn *c);
int conn_fd(const struct conn *c);

/* To be closed at the end of this turn; 'reason' is what a stream that has not ended yet
 * ends with, by what usually brings that about or by another cause. */
void conn_doom(struct conn *c, enum end_reason reason);
void conn_doom_by(struct conn *c, enum end_reason reason, enum end_cause cause);
void conn_free(struct conn *c); /* by the worker, when doomed */

/* At the end of this turn its socket goes to another thread, which asks for its request again, or for
 * that of the one exchange that it carries. To be called while that waits, before anybody was asked. */
void conn_move(struct conn *c, struct lane *to);

void conn_drain(struct conn *c, int64_t window_ms);

/* Its socket is readable. */
void conn_hear(struct conn *c);

/* Read what its socket has, as far as there is room for it. To be followed by conn_go_on. */
void conn_read(struct conn *c);

/* So many bytes came that were not asked for. */
void conn_pass(struct conn *c, size_t n);

/* Parse and send what can be parsed and sent, then wait for more. */
void conn_go_on(struct conn *c);

/* Watch its socket for what its state wants. */
void conn_watch(struct conn *c);

/* The answer is queued: on to the next request, or to the end. */
void conn_next(struct conn *c);

/* A request that cannot be understood: one answer, then the end. */
void conn_refuse(struct conn *c, int status);

/* Its request is another's, or nobody's. */
void conn_release(struct conn *c);

/* The app need not answer any more; what it did not take it never will. */
void conn_drop_request(struct conn *c);

/* The request is answered, or a stream's plan has come: what is no stream, and waits for no event,
 * goes on to the next request. */
void conn_end_request(struct conn *c);

/* A stream with nothing to write but events: the talk is over. */
void conn_end_talk(struct conn *c);

/* Nothing more will be asked or answered: flush, then close. To be followed by
 * conn_go_on. */
void conn_finish(struct conn *c);

#endif
