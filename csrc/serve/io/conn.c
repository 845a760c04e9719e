/* The conversation of one connection; see conn.h. */
#include "serve/io/conn.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"
#include "net/sock.h"
#include "serve/admission.h"
#include "serve/io/accept.h"
#include "serve/io/dispatch.h"
#include "serve/io/due.h"
#include "serve/io/exchange.h"
#include "serve/io/feeding.h"
#include "serve/io/hangups.h"
#include "serve/io/input.h"
#include "serve/io/mux.h"
#include "serve/io/outlet.h"
#include "serve/io/output.h"
#include "serve/io/poll.h"
#include "serve/io/secure.h"
#include "serve/io/upload.h"
#include "serve/io/worker.h"
#include "serve/to_app.h"

#include <sys/socket.h>
#include <unistd.h>

/* ---- Life --------------------------------------------------------------------------- */

static void on_io(struct ev_loop *ev, struct ev_io *io, int events);

static struct conn *conn_place(struct worker *w, struct tls *tls) {
    if (!tls) return pool_new(&w->conn_pool);
    struct secure *s = pool_new(&w->secure_pool);
    s->conn.secure = true;
    s->tls = tls;
    return &s->conn;
}

void conn_init(struct conn *c, struct worker *w, int fd) {
    ev_io_init(&c->io, on_io, fd, 0);
    c->io.data = w;
    list_add(&w->conns, &c->node);
    wheel_timer_init(&c->timer);
}

/* 'tls': NULL for a plain one. */
static struct conn *conn_make(struct worker *w, int fd, struct talk *talk,
                              struct tls *tls) {
    struct conn *c = conn_place(w, tls);
    c->talk = talk;
    conn_init(c, w, fd);
    w->n_conns++;
    atomic_fetch_add_explicit(&w->lane.counters.connections, 1, memory_order_relaxed);
    return c;
}

struct conn *conn_new_secure(struct worker *w, int fd, const struct in6_addr *ip,
                             struct tls *tls) {
    ASSERT_OWNER(&w->loop);
    struct talk *talk = mem_new(sizeof *talk);
    talk->ip = *ip;
    talk->since_ms = w->now_ms;
    struct conn *c = conn_make(w, fd, talk, tls);
    if (tls && tls_protocol(tls) == TLS_HTTP2) mux_begin(c);
    return c;
}

struct conn *conn_new(struct worker *w, int fd, const struct in6_addr *ip) {
    return conn_new_secure(w, fd, ip, NULL);
}

static const struct conn *under(const struct conn *c) {
    return c->carried ? exchange_carrier(c) : c;
}

bool conn_is_secure(const struct conn *c) {
    return under(c) && under(c)->secure;
}

int conn_fd(const struct conn *c) {
    return under(c) ? under(c)->io.fd : -1;
}

/* What was decided before stays. */
static void note_end(struct stream *s, enum end_reason reason, enum end_cause cause) {
    if (s->reason) return;
    s->reason = reason;
    s->cause = cause;
}

void conn_doom_by(struct conn *c, enum end_reason reason, enum end_cause cause) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    if (c->doomed) return;
    c->doomed = true;
    if (c->streams) note_end(&c->outlet.stream, reason, cause);
    if (c->carried) exchange_on_doom(c, cause);
    if (conn_mux(c) && !c->moves) mux_on_doom(c, reason, cause);
    ev_io_stop(conn_worker(c)->loop.ev, &c->io);
    hangups_remove(c);
    wheel_cancel(&c->timer);
    list_remove(&c->node);
    list_add(&conn_worker(c)->doomed, &c->node);
}

void conn_doom(struct conn *c, enum end_reason reason) {
    conn_doom_by(c, reason, reason_end(reason)->usual);
}

void conn_release(struct conn *c) {
    admission_drop(c->talk->request);
    request_unref(c->talk->request);
    c->talk->request = NULL;
}

void conn_drop_request(struct conn *c) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    struct request *r = c->talk->request;
    if (!r) return;
    upload_leave(c);
    r->conn = NULL;
    if (!queue_withdraw(r)) to_app_cancel(r);
    conn_release(c);
}

static void free_talk(struct conn *c) {
    buf_free(&c->talk->in);
    buf_free(&c->talk->out);
    static_file_unref(c->talk->file);
    mem_free(c->talk);
    c->talk = NULL;
}

void conn_end_talk(struct conn *c) {
    if (c->phase != CONN_STREAM || !c->talk) return;
    if (!c->talk->request && conn_unsent(c) == 0) free_talk(c);
}

void conn_end_request(struct conn *c) {
    if (c->phase == CONN_WAIT) {
        conn_next(c);
        return;
    }
    conn_release(c);
    conn_end_talk(c);
}

/* Its entry in the list and its memory; what it had is another's. */
static void leave(struct conn *c) {
    struct worker *w = conn_worker(c);
    list_remove(&c->node);
    if (c->carried) {
        exchange_free(c);
        return;
    }
    w->n_conns--;
    if (c->scraper) accept_forget(w, c); /* counts for no limit */
    else
        atomic_fetch_sub_explicit(&w->lane.counters.connections, 1, memory_order_relaxed);
    if (c->secure) pool_free(&w->secure_pool, container_of(c, struct secure, conn));
    else pool_free(&w->conn_pool, c);
}

/* The same with what it holds; nothing is notified. */
static void forget(struct conn *c) {
    int fd = c->io.fd;
    if (conn_mux(c)) mux_free(c);
    /* an end that is none of an answer; one that cut something off must not look whole */
    if (c->secure && c->phase == CONN_HEAD && conn_unsent(c) == 0) secure_close(c);
    tls_free(conn_tls(c));
    if (c->talk) free_talk(c);
    leave(c);
    if (fd >= 0) close(fd);
}

/* ---- To another thread -------------------------------------------------------------- */

struct move {
    struct message message;
    struct talk *talk;
    struct tls *tls;
    int fd;
    bool trusted, keep_alive, half_closed;
    struct exchange carried; /* when it carries one */
};

static void io_on_move(void *owner, struct message *message) {
    struct move *m = container_of(message, struct move, message);
    struct worker *w = owner;
    struct conn *c = conn_make(w, m->fd, m->talk, m->tls);
    struct request *r = c->talk->request;
    c->trusted = m->trusted;
    c->keep_alive = m->keep_alive;
    c->half_closed = m->half_closed;
    if (conn_mux(c)) mux_arrive(c, &m->carried);
    mem_free(m);
    if (conn_mux(c)) return;
    r->conn = c;
    c->phase = CONN_WAIT;
    c->talk->since_ms = w->now_ms;
    if (dispatch(c, r)) conn_next(c);
    conn_go_on(c);
}

void conn_move(struct conn *c, struct lane *to) {
    struct conn *asks = conn_mux(c) ? conn_mux(c)->led : c;
    c->moves = true;
    asks->talk->request->lane = to;
    conn_doom(c, END_GONE);
}

static void hand_over(struct conn *c) {
    struct mux *x = conn_mux(c);
    struct conn *asks = x ? x->led : c;
    struct lane *to = asks->talk->request->lane;
    struct move *m = mem_new(sizeof *m);
    *m = (struct move){.talk = c->talk,
                       .tls = conn_tls(c),
                       .fd = c->io.fd,
                       .trusted = c->trusted,
                       .keep_alive = c->keep_alive,
                       .half_closed = c->half_closed};
    if (x) exchange_pack(asks, &m->carried);
    if (x) list_remove(&x->dirty);
    loop_let_go(&conn_worker(c)->loop, m->fd);
    leave(c);
    mailbox_post(&to->loop->mailbox, &m->message, io_on_move);
}

void conn_free(struct conn *c) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    assert(!c->queued);
    if (c->polls || c->moves) {
        if (c->polls) poll_free(c);
        else hand_over(c);
        return;
    }
    if (c->talk && c->talk->poll) poll_leave(c);
    if (c->streams) outlet_close(&c->outlet);
    if (conn_feeding(c)) feeding_close(c);
    if (c->talk) conn_drop_request(c);
    forget(c);
}

/* ---- What its socket is watched for -------------------------------------------------- */

/* A peer that still sends a body must not wait for us to read while we wait for it to. */
static bool spares(const struct conn *c) {
    return c->talk && c->talk->spare > 0;
}

static int wanted_by_phase(const struct conn *c) {
    switch (c->phase) {
    case CONN_STREAM:
        return c->outlet.pinned && !c->queued ? EV_READ | EV_WRITE : EV_READ;
    case CONN_FLUSH: return c->half_closed || !spares(c) ? EV_WRITE : EV_READ | EV_WRITE;
    case CONN_LINGER: return c->passed < LINGER_BYTES_MAX ? EV_READ : 0;
    default: break;
    }
    int reads = !c->half_closed && input_room(c) > 0 ? EV_READ : 0;
    return conn_unsent(c) > 0 ? reads | EV_WRITE : reads;
}

static int wanted(const struct conn *c) {
    int events = wanted_by_phase(c);
    if (c->secure && secure_wants_write(c) && (events & EV_READ)) events |= EV_WRITE;
    return events;
}

/* Whether nothing but its end is of interest. One that the loop watches stays there. */
static bool may_only_leave(const struct conn *c, int events) {
    bool rests = c->phase == CONN_STREAM || (c->phase == CONN_WAIT && !upload_is_open(c));
    return rests && events == EV_READ && !ev_is_active(&c->io);
}

static void watch_for(struct conn *c, int events) {
    ev_io_stop(conn_worker(c)->loop.ev, &c->io);
    ev_io_set(&c->io, c->io.fd, events);
    if (events) ev_io_start(conn_worker(c)->loop.ev, &c->io);
}

void conn_watch(struct conn *c) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    if (c->polls) return;
    if (c->carried) {
        exchange_watch(c);
        return;
    }
    int events = wanted(c), before = c->io.events & (EV_READ | EV_WRITE);
    if (c->doomed || (events == before && !c->only_leaves)) return;
    if (may_only_leave(c, events) && (c->only_leaves || hangups_add(c))) return;
    if (events & ~before & EV_WRITE) { /* it is full from now on */
        output_note_taken(c);
        c->held = sock_held(c->io.fd);
    }
    hangups_remove(c);
    watch_for(c, events);
}

/* ---- From state to state ------------------------------------------------------------ */

static void start_linger(struct conn *c) {
    if (c->secure && !secure_close(c)) return; /* stays in FLUSH until it can be said */
    if (c->half_closed ||
        c->carried) { /* it has said all: nothing can come that would kill the answer */
        conn_doom(c, END_GONE);
        return;
    }
    c->phase = CONN_LINGER;
    if (c->talk) c->talk->since_ms = conn_worker(c)->now_ms;
    if (c->talk) c->talk->spare_seen = c->talk->spare;
    shutdown(c->io.fd, SHUT_WR);
    output_note_taken(c);
    c->held = sock_held(c->io.fd);
}

void conn_go_on(struct conn *c) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    while (!c->doomed && c->phase != CONN_STREAM) {
        bool parsed = input_parse(c);
        if (c->phase == CONN_STREAM || !output_flush(c) || parsed || PLANTED(115)) break;
    }
    if (c->phase == CONN_FLUSH && conn_unsent(c) == 0 && !c->doomed) start_linger(c);
    if (c->doomed) return;
    conn_watch(c);
    if (c->phase != CONN_STREAM) due_set(c);
}

void conn_finish(struct conn *c) {
    if (c->doomed) return;
    c->phase = CONN_FLUSH;
    c->keep_alive = false;
    if (c->talk) buf_free(&c->talk->in);
}

void conn_next(struct conn *c) {
    upload_leave(c);
    conn_release(c);
    if (!c->keep_alive || conn_worker(c)->draining) {
        conn_finish(c);
        return;
    }
    if (c->talk->in.n == 0) buf_free(&c->talk->in);
    c->phase = CONN_HEAD;
    c->talk->scanned = 0;
    c->talk->since_ms = conn_worker(c)->now_ms;
}

void conn_refuse(struct conn *c, int status) {
    c->keep_alive = false;
    if (output_answer(c, status, NULL, NULL) == 0) conn_next(c);
}

/* ---- Reading ------------------------------------------------------------------------ */

/* It will say nothing more. A stream has no reader then; what was asked before is
 * answered. */
static void on_eof(struct conn *c) {
    c->half_closed = true;
    if (c->phase == CONN_STREAM || c->phase == CONN_POLL || c->phase == CONN_LINGER ||
        c->phase == CONN_MUX || feeding_waits(c) ||
        (PLANTED(116) && conn_unsent(c) > 0)) {
        conn_doom_by(c, END_GONE, BY_CLIENT);
    } else if (c->phase == CONN_WAIT && request_streams(c->talk->request)) {
        conn_drop_request(c);
        conn_finish(c);
    }
}

/* Bytes that were not asked for are counted and dropped. After the last answer the peer has
 * some time to take it, read or not. */
void conn_pass(struct conn *c, size_t n) {
    if (c->phase != CONN_STREAM && c->talk) {
        size_t spared = n < c->talk->spare ? n : c->talk->spare;
        c->talk->spare -= (uint32_t)spared;
        n -= spared;
    }
    n += c->passed;
    if (c->phase == CONN_STREAM && n > STREAM_INPUT_MAX)
        conn_doom_by(c, END_GONE, BY_INPUT);
    c->passed = (uint16_t)(n < LINGER_BYTES_MAX ? n : LINGER_BYTES_MAX);
}

void conn_read(struct conn *c) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    if (c->carried) return; /* what it is sent comes by itself */
    bool passes =
        c->phase == CONN_STREAM || c->phase == CONN_FLUSH || c->phase == CONN_LINGER;
    size_t room = passes ? WORKER_INPUT_BYTES : input_room(c);
    char *input = conn_worker(c)->input;
    ssize_t n = conn_receive(c, input, room, WORKER_INPUT_BYTES);
    if (n == 0) on_eof(c);
    else if (n > 0 && passes) conn_pass(c, (size_t)n);
    else if (n > 0 && c->phase == CONN_MUX) mux_receive(c, slice_of(input, (size_t)n));
    else if (n > 0 && buf_add(&c->talk->in, input, (size_t)n) < 0)
        conn_doom(c, END_OVERLOAD);
    else if (n < 0 && n != -EAGAIN) conn_doom(c, END_GONE);
}

/* A session may have to write something of its own before it can read on. */
static bool may_read(const struct conn *c, int events) {
    if (events & wanted(c) & EV_READ) return true;
    return c->secure && (events & EV_WRITE) && secure_wants_write(c);
}

static void hear(struct conn *c, int events) {
    yield_if_urgent(&conn_worker(c)->yield);
    if ((events & EV_WRITE) && c->phase == CONN_STREAM) outlet_writable(&c->outlet);
    if (may_read(c, events) && !c->doomed) conn_read(c);
    if (c->phase == CONN_MUX) mux_mark(c);
    conn_go_on(c);
}

static void on_io(struct ev_loop *ev, struct ev_io *io, int events) {
    (void)ev;
    struct conn *c = container_of(io, struct conn, io);
    struct worker *w = conn_worker(c);
    if (!hangups_wait(w) || hangups_settle(w, c)) hear(c, events);
}

void conn_hear(struct conn *c) {
    if (!c->doomed) hear(c, EV_READ);
}

/* ---- Drain -------------------------------------------------------------------------- */

void conn_drain(struct conn *c, int64_t window_ms) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    if (c->doomed) return;
    if (c->polls) {
        poll_drain(c, window_ms);
        return;
    }
    if (c->phase == CONN_MUX) {
        mux_drain(c);
        return;
    }
    if (c->phase == CONN_HEAD && c->talk->in.n == 0) conn_read(c); /* asked in time */
    conn_go_on(c);
    if (c->doomed) return;
    c->keep_alive = false;
    if (c->phase == CONN_STREAM) outlet_drain(&c->outlet, window_ms);
    if (conn_feeding(c)) {
        feeding_drain(c);
        conn_go_on(c);
        return;
    }
    if (c->phase != CONN_HEAD || c->talk->in.n > 0) return;
    if (conn_unsent(c) == 0) conn_doom(c, END_DRAIN);
    else conn_finish(c);
    conn_go_on(c);
}
