/* Connections of HTTP/2; see mux.h. */
#include "serve/io/mux.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "serve/io/dispatch.h"
#include "serve/io/exchange.h"
#include "serve/io/output.h"
#include "serve/io/secure.h"
#include "serve/io/worker.h"

#include <errno.h>

void mux_queue(struct conn *c) {
    struct mux *m = conn_mux(c);
    if (list_empty(&m->dirty)) list_add(&conn_worker(c)->muxes, &m->dirty);
}

void mux_mark(struct conn *c) {
    conn_mux(c)->stirred = true;
    mux_queue(c);
}

/* ---- Reading ------------------------------------------------------------------------ */

/* Nothing goes on: its streams end with this, and GOAWAY is the last that it says. */
static void end(struct mux *m, bool calm, enum end_reason reason, enum end_cause cause) {
    h2_end(m->h2, calm);
    m->reason = reason;
    m->cause = cause;
    mux_mark(m->conn);
}

void mux_receive(struct conn *c, struct slice bytes) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    struct mux *m = conn_mux(c);
    int64_t now = conn_worker(c)->now_ms;
    m->heard_ms = now;
    m->asked_ms = 0;
    if (!h2_receive(m->h2, bytes, now) && m->n > 0 && m->reason == END_NONE) {
        m->reason = END_GONE;
        m->cause = BY_INPUT;
    }
    if (!h2_is_amid(m->h2)) m->amid_ms = 0;
    else if (m->amid_ms == 0) m->amid_ms = now;
    mux_mark(c);
}

void mux_begin(struct conn *c) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    struct worker *w = conn_worker(c);
    struct mux *m = mem_new(sizeof *m);
    *m = (struct mux){.conn = c,
                      .h2 = h2_new(&exchange_ops, c),
                      .idle_ms = w->now_ms,
                      .amid_ms = w->now_ms,
                      .heard_ms = w->now_ms};
    list_init(&m->dirty);
    list_init(&m->exchanges);
    list_init(&m->due);
    c->talk->mux = m;
    c->talk->scanned = 0;
    c->phase = CONN_MUX;
    struct buf in = c->talk->in;
    buf_init(&c->talk->in);
    if (!m->h2) conn_doom(c, END_OVERLOAD);
    else mux_receive(c, buf_slice(&in));
    buf_free(&in);
    if (w->draining && !c->doomed) mux_drain(c);
}

/* ---- Writing ------------------------------------------------------------------------ */

/* False: the socket does not take all of it. */
static bool write_bytes(struct conn *c, struct slice bytes) {
    ssize_t sent = conn_send(c, slice_of(NULL, 0), bytes);
    if (sent < 0) {
        conn_doom(c, END_GONE);
        return false;
    }
    if (sent > 0) output_note_taken(c);
    c->held += (uint32_t)sent;
    size_t left = bytes.n - (size_t)sent;
    if (left > 0 && buf_add(&c->talk->out, bytes.p + sent, left) < 0)
        conn_doom(c, END_OVERLOAD);
    return left == 0;
}

/* As long as the socket takes it: a record each. */
static void write_frames(struct conn *c, struct mux *m) {
    char *room = conn_worker(c)->frames;
    if (!output_flush(c)) return;
    do {
        size_t n = h2_write(m->h2, room);
        if (n == 0 || !write_bytes(c, slice_of(room, n))) return;
    } while (h2_has_more(m->h2));
}

ssize_t mux_send_now(struct conn *c, struct h2_stream *s, struct slice bytes) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    struct mux *m = conn_mux(c);
    char *room = conn_worker(c)->frames;
    bool alone = m->n == 1 && list_empty(&m->dirty) && conn_unsent(c) == 0;
    if (!alone || c->doomed || c->phase != CONN_MUX) return 0;
    size_t n = h2_write_now(m->h2, s, bytes, room);
    if (n == 0) return 0;
    if (!write_bytes(c, slice_of(room, n))) mux_mark(c);
    return c->doomed ? -EPIPE : (ssize_t)bytes.n;
}

static void report(struct mux *m) {
    struct list now;
    list_init(&now);
    list_take_all(&now, &m->due);
    while (!list_empty(&now)) {
        struct exchange *e = container_of(now.next, struct exchange, due);
        list_remove(&e->due);
        exchange_report(e);
    }
}

static void doom_all(struct mux *m, enum end_reason reason, enum end_cause cause) {
    for (struct list *node = m->exchanges.next; node != &m->exchanges;
         node = node->next) {
        struct exchange *e = container_of(node, struct exchange, node);
        e->closed = true; /* nothing is said of it any more */
        conn_doom_by(&e->conn, reason, cause);
        if (list_empty(&e->due)) list_add(&m->due, &e->due);
    }
}

/* What is left is to be out, and then it closes like any other. */
static void close_down(struct conn *c, struct mux *m) {
    doom_all(m, m->reason ? m->reason : END_GONE, m->reason ? m->cause : BY_CLIENT);
    report(m);
    conn_finish(c);
    conn_go_on(c);
}

/* Here, since others are there too: the request is that of a newcomer. */
static void stay(struct conn *led) {
    if (dispatch(led, led->talk->request)) conn_next(led);
    conn_go_on(led);
}

/* True: the connection is on its way. */
static bool lead(struct conn *c, struct mux *m) {
    struct conn *led = m->led;
    bool goes = m->n == 1 && !h2_is_over(m->h2) && m->reason == END_NONE;
    if (led->doomed) goes = false;
    else if (goes) conn_move(c, m->leads);
    else stay(led);
    if (!goes) m->led = NULL;
    return goes;
}

/* Frames went out, and that was all. */
static bool is_calm(const struct conn *c, const struct mux *m) {
    return !m->stirred && conn_unsent(c) == 0 && !(c->io.events & EV_WRITE) &&
           !h2_is_full(m->h2) && !h2_is_over(m->h2);
}

/* A client that takes some and some more is not full, though it never takes all. */
static void note_full(struct conn *c, struct mux *m) {
    bool full = m->n > 0 && h2_is_full(m->h2);
    uint64_t sent = h2_sent(m->h2);
    if (!full) m->full_ms = 0;
    else if (m->full_ms == 0 || sent != m->sent) m->full_ms = conn_worker(c)->now_ms;
    m->sent = sent;
}

static void write_one(struct conn *c, struct mux *m) {
    if (!c->doomed && c->phase == CONN_MUX) write_frames(c, m);
    report(m);
    if (c->doomed || c->phase != CONN_MUX || is_calm(c, m)) return;
    m->stirred = false;
    if (m->led && lead(c, m)) return;
    bool drained = conn_worker(c)->draining && m->n == 0;
    if (drained && m->reason == END_NONE) end(m, false, END_DRAIN, BY_DRAIN);
    note_full(c, m);
    if (h2_is_over(m->h2)) close_down(c, m);
    else conn_go_on(c);
}

void muxes_write(struct worker *w) {
    ASSERT_OWNER(&w->loop);
    struct list now;
    list_init(&now);
    list_take_all(&now, &w->muxes);
    while (!list_empty(&now)) {
        struct mux *m = container_of(now.next, struct mux, dirty);
        list_remove(&m->dirty);
        write_one(m->conn, m);
    }
}

/* ---- To another thread -------------------------------------------------------------- */

bool mux_lead(struct conn *exchange, struct lane *to) {
    struct conn *c = (struct conn *)exchange_carrier(exchange);
    struct mux *m = c ? conn_mux(c) : NULL;
    if (!m || m->n > 1 || m->led) return false;
    m->led = exchange;
    m->leads = to;
    mux_mark(c);
    return true;
}

void mux_arrive(struct conn *c, const struct exchange *packed) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    struct mux *m = conn_mux(c);
    m->conn = c;
    m->led = NULL;
    m->n = 0;
    list_init(&m->dirty);
    list_init(&m->exchanges);
    list_init(&m->due);
    h2_move(m->h2, c);
    c->phase = CONN_MUX;
    stay(exchange_unpack(c, packed));
    mux_mark(c);
    if (conn_worker(c)->draining) mux_drain(c);
    conn_go_on(c);
}

/* ---- Time --------------------------------------------------------------------------- */

static int64_t earliest(int64_t due, int64_t since, int64_t limit) {
    return since > 0 && since + limit < due ? since + limit : due;
}

int64_t mux_due_ms(const struct conn *c) {
    const struct mux *m = conn_mux(c);
    const struct serve_options *o = &conn_worker(c)->hub->options;
    int64_t due = INT64_MAX;
    due = earliest(due, m->n == 0 ? m->idle_ms : 0, o->idle_timeout_ms);
    due = earliest(due, m->amid_ms, o->head_timeout_ms);
    due = earliest(due, m->full_ms, o->stall_timeout_ms);
    due = earliest(due, m->announced_ms, H2_NOTICE_MS);
    if (m->asked_ms > 0) return earliest(due, m->asked_ms, o->stall_timeout_ms);
    return earliest(due, m->heard_ms, H2_PING_MS);
}

static bool is_over(const struct conn *c, int64_t since, int64_t limit) {
    return since > 0 && conn_worker(c)->now_ms >= since + limit;
}

static void look_for_peer(struct conn *c, struct mux *m) {
    int64_t limit = conn_worker(c)->hub->options.stall_timeout_ms;
    if (m->asked_ms == 0 && is_over(c, m->heard_ms, H2_PING_MS)) {
        h2_ping(m->h2);
        m->asked_ms = conn_worker(c)->now_ms;
        mux_mark(c);
    } else if (is_over(c, m->asked_ms, limit)) {
        conn_doom_by(c, END_GONE, BY_SILENCE);
    }
}

void mux_on_timer(struct conn *c) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    struct mux *m = conn_mux(c);
    const struct serve_options *o = &conn_worker(c)->hub->options;
    if (is_over(c, m->announced_ms, H2_NOTICE_MS)) {
        m->announced_ms = 0;
        h2_goaway(m->h2);
        mux_mark(c);
    }
    if (m->reason) return; /* its end is on its way */
    if (m->n == 0 && is_over(c, m->idle_ms, o->idle_timeout_ms))
        end(m, false, END_GONE, BY_CLIENT);
    else if (is_over(c, m->amid_ms, o->head_timeout_ms))
        end(m, false, END_GONE, BY_INPUT);
    else if (is_over(c, m->full_ms, o->stall_timeout_ms))
        end(m, false, END_SLOW, BY_STALL);
    else look_for_peer(c, m);
}

/* ---- Ends --------------------------------------------------------------------------- */

void mux_drain(struct conn *c) {
    struct mux *m = conn_mux(c);
    h2_announce(m->h2);
    m->announced_ms = conn_worker(c)->now_ms;
    mux_mark(c);
}

void mux_lost_one(struct conn *c, const struct conn *exchange) {
    struct mux *m = conn_mux(c);
    if (m->led == exchange) m->led = NULL;
    if (--m->n == 0) m->idle_ms = conn_worker(c)->now_ms;
    mux_mark(c);
}

void mux_on_doom(struct conn *c, enum end_reason reason, enum end_cause cause) {
    doom_all(conn_mux(c), reason, cause);
    mux_mark(c);
}

void mux_free(struct conn *c) {
    struct mux *m = conn_mux(c);
    while (!list_empty(&m->exchanges)) {
        struct exchange *e = container_of(m->exchanges.next, struct exchange, node);
        list_remove(&e->node);
        list_remove(&e->due);
        e->carrier = NULL;
    }
    list_remove(&m->dirty);
    h2_free(m->h2);
    mem_free(m);
    c->talk->mux = NULL;
}
