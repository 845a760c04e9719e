/* Exchanges of HTTP/2; see exchange.h. */
#include "serve/io/exchange.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"
#include "net/h2_text.h"
#include "net/http_bytes.h"
#include "net/http_field.h"
#include "net/sock.h"
#include "serve/io/input.h"
#include "serve/io/mux.h"
#include "serve/io/output.h"
#include "serve/io/upload.h"
#include "serve/io/worker.h"

static struct exchange *exchange_of(struct conn *c) {
    return container_of(c, struct exchange, conn);
}

static struct exchange *of_stream(const struct h2_stream *s) {
    return container_of(s, struct exchange, stream);
}

static struct h2 *h2_of(const struct exchange *e) {
    return conn_mux(e->carrier)->h2;
}

static void note_due(struct exchange *e) {
    if (list_empty(&e->due)) list_add(&conn_mux(e->carrier)->due, &e->due);
    mux_queue(e->carrier);
}

/* ---- Beginning ---------------------------------------------------------------------- */

static struct exchange *make(struct conn *carrier, struct talk *talk) {
    struct worker *w = conn_worker(carrier);
    struct exchange *e = pool_new(&w->exchange_pool);
    struct conn *c = &e->conn;
    c->carried = true;
    c->trusted = carrier->trusted;
    conn_init(c, w, -1);
    c->talk = talk;
    talk->ip = carrier->talk->ip;
    talk->since_ms = w->now_ms;
    output_note_taken(c);
    e->carrier = carrier;
    h2_stream_init(&e->stream);
    list_init(&e->due);
    list_add(&conn_mux(carrier)->exchanges, &e->node);
    conn_mux(carrier)->n++;
    return e;
}

static struct h2_stream *begin(void *owner, struct buf *head, bool body) {
    struct conn *carrier = owner;
    if (carrier->doomed || conn_mux(carrier)->n == H2_STREAMS_MAX) {
        buf_free(head);
        return NULL;
    }
    struct exchange *e = make(carrier, mem_new(sizeof(struct talk)));
    e->conn.talk->in = *head;
    e->body = body;
    return &e->stream;
}

static void go_on(struct h2_stream *s) {
    conn_go_on(&of_stream(s)->conn);
}

/* A body that is announced by no length: its head alone said nothing of it. */
static bool waits_to_be_told(const struct http_head *head) {
    struct http_list list = http_list_of(http_head_fields(head), "expect");
    for (struct slice item; http_list_next(&list, &item);)
        if (http_is(item, "100-continue")) return true;
    return false;
}

void exchange_take_head(struct conn *c, struct http_head *head) {
    struct exchange *e = exchange_of(c);
    head->minor = HTTP_2;
    head->keep_alive = false;
    e->chunked = e->body && head->body == HTTP_BODY_NONE;
    if (!e->chunked) return;
    head->body = HTTP_BODY_CHUNKED;
    head->expect_continue = waits_to_be_told(head);
}

/* ---- To another thread -------------------------------------------------------------- */

void exchange_pack(struct conn *c, struct exchange *out) {
    struct exchange *e = exchange_of(c);
    *out = *e;
    wheel_cancel(&c->timer);
    ev_io_stop(conn_worker(c)->loop.ev, &c->io);
    list_remove(&c->node);
    list_remove(&e->node);
    list_remove(&e->due);
    h2_stream_drop(&e->stream);
    pool_free(&conn_worker(c)->exchange_pool, e);
}

struct conn *exchange_unpack(struct conn *carrier, const struct exchange *packed) {
    struct exchange *e = make(carrier, packed->conn.talk);
    e->uncredited = packed->uncredited;
    e->body = packed->body;
    e->conn.asked = true;
    e->conn.talk->request->conn = &e->conn;
    e->conn.phase = CONN_WAIT;
    e->stream = packed->stream;
    h2_adopt(h2_of(e), &e->stream);
    return &e->conn;
}

/* ---- Its body ----------------------------------------------------------------------- */

static bool reads(const struct conn *c) {
    return !c->doomed && c->talk && (c->phase == CONN_BODY || upload_is_open(c));
}

static int add_chunk(struct buf *in, struct slice bytes) {
    int err = buf_addf(in, "%zx\r\n", bytes.n);
    if (err == 0) err = buf_add(in, bytes.p, bytes.n);
    return err < 0 ? err : buf_adds(in, "\r\n");
}

/* What nobody reads is dropped, and gets no new window. */
static bool on_data(struct h2_stream *s, struct slice bytes) {
    struct exchange *e = of_stream(s);
    struct conn *c = &e->conn;
    e->uncredited += (uint32_t)bytes.n;
    if (!reads(c) || bytes.n == 0) return true;
    struct buf *in = &c->talk->in;
    int err = e->chunked ? add_chunk(in, bytes) : buf_add(in, bytes.p, bytes.n);
    if (err == 0) conn_go_on(c);
    return err == 0;
}

static void on_end(struct h2_stream *s) {
    struct exchange *e = of_stream(s);
    struct conn *c = &e->conn;
    if (!reads(c) || !e->chunked) return;
    if (buf_adds(&c->talk->in, "0\r\n\r\n") < 0) conn_doom(c, END_OVERLOAD);
    else conn_go_on(c);
}

void exchange_watch(struct conn *c) {
    struct exchange *e = exchange_of(c);
    if (!e->carrier || e->closed || !reads(c)) return;
    size_t held = c->talk->in.n;
    if (e->uncredited <= held) return;
    h2_credit(h2_of(e), &e->stream, e->uncredited - held);
    e->uncredited = (uint32_t)held;
    mux_mark(e->carrier);
}

/* ---- Its answer --------------------------------------------------------------------- */

/* The head, and those of 1xx before it, from text to fields. */
static int answer(struct exchange *e) {
    struct conn *c = &e->conn;
    struct talk *t = c->talk;
    while (!e->answered) {
        struct slice text = slice_of(t->out.p + t->out_sent, t->out.n - t->out_sent);
        size_t n = h2_text_head(text);
        if (n == 0) return 0;
        t->out_sent += n;
        bool last = text.p[sizeof "HTTP/1.1"] != '1';
        bool bare = last && c->phase == CONN_FLUSH && conn_unsent(c) == 0;
        int err = h2_answer(h2_of(e), &e->stream, slice_of(text.p, n), bare);
        if (err < 0) return err;
        e->answered = last;
        e->ended = bare;
    }
    return 0;
}

ssize_t exchange_send(struct conn *c, struct slice block) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    struct exchange *e = exchange_of(c);
    if (!e->carrier || e->closed) return -EPIPE;
    ssize_t n = 0;
    if (block.n > 0 && e->answered && conn_unsent(c) == 0)
        n = mux_send_now(e->carrier, &e->stream, block);
    if (n != 0) return n;
    int err = e->answered || conn_unsent(c) == 0 ? 0 : answer(e);
    if (err < 0) return err;
    if (!e->waits && c->phase != CONN_STREAM) output_note_taken(c);
    e->waits = true;
    h2_wake(h2_of(e), &e->stream);
    note_due(e);
    return SOCK_QUEUED;
}

/* Its pieces, in their order: what is queued, a file behind it, or the block of its stream. */
struct pieces {
    struct slice of[3];
};

static struct pieces pieces_of(const struct conn *c) {
    struct pieces p = {0};
    const struct talk *t = c->talk;
    if (t && t->out.n > t->out_sent)
        p.of[0] = slice_of(t->out.p + t->out_sent, t->out.n - t->out_sent);
    if (t && t->file)
        p.of[1] =
            slice_of(t->file->body.p + t->file_sent, t->file->body.n - t->file_sent);
    if (c->phase == CONN_STREAM) p.of[2] = outlet_rest(&c->outlet);
    return p;
}

/* The head of a stream goes with its first block. */
static size_t size_of(const struct h2_stream *s, bool *last) {
    const struct exchange *e = of_stream(s);
    const struct conn *c = &e->conn;
    const struct block *b = c->outlet.pinned;
    bool streams = c->phase == CONN_STREAM;
    *last = streams ? b && b->end != STREAM_GOES_ON : c->phase == CONN_FLUSH;
    if (!e->answered || (streams && !b)) return 0;
    struct pieces p = pieces_of(c);
    return p.of[0].n + p.of[1].n + p.of[2].n - e->pulled;
}

static void pull(struct h2_stream *s, char *to, size_t n, bool last) {
    struct exchange *e = of_stream(s);
    struct pieces p = pieces_of(&e->conn);
    size_t skip = PLANTED(701) ? 0 : e->pulled;
    e->pulled += (uint32_t)n;
    e->ended = e->ended || last;
    note_due(e);
    for (int i = 0; i < 3 && n > 0; i++) {
        size_t pass = skip < p.of[i].n ? skip : p.of[i].n;
        size_t some = p.of[i].n - pass < n ? p.of[i].n - pass : n;
        if (some > 0) memcpy(to, p.of[i].p + pass, some);
        to += some;
        n -= some;
        skip -= pass;
    }
}

void exchange_report(struct exchange *e) {
    struct conn *c = &e->conn;
    ASSERT_OWNER(&conn_worker(c)->loop);
    size_t n = e->pulled;
    e->pulled = 0;
    if (c->doomed) {
        if (c->queued) outlet_on_result(&c->outlet, -EPIPE);
    } else if (c->phase != CONN_STREAM) {
        output_took(c, n);
        e->waits = conn_unsent(c) > 0;
        conn_go_on(c);
    } else {
        if (PLANTED(702) && n > 0) n = outlet_rest(&c->outlet).n;
        if (c->outlet.pinned) outlet_on_result(&c->outlet, (ssize_t)n);
        conn_end_talk(c);
    }
}

const struct conn *exchange_carrier(const struct conn *c) {
    return container_of(c, const struct exchange, conn)->carrier;
}

bool exchange_is_held_up(const struct conn *c) {
    const struct conn *carrier = exchange_carrier(c);
    return carrier && !carrier->doomed && conn_unsent(carrier) > 0;
}

/* ---- Ends --------------------------------------------------------------------------- */

/* The client has reset it; or both sides have said all. */
static void on_closed(struct h2_stream *s) {
    struct exchange *e = of_stream(s);
    e->closed = true;
    if (!e->ended) conn_doom_by(&e->conn, END_GONE, BY_CLIENT);
}

void exchange_on_doom(struct conn *c, enum end_cause cause) {
    struct exchange *e = exchange_of(c);
    if (!e->carrier || e->closed) return;
    bool whole = c->phase == CONN_FLUSH && conn_unsent(c) == 0;
    bool may_end = e->answered && (whole || (c->streams && cause != BY_STALL));
    h2_leave(h2_of(e), &e->stream, !(e->ended || may_end));
    e->closed = true;
    note_due(e);
}

void exchange_free(struct conn *c) {
    struct exchange *e = exchange_of(c);
    list_remove(&e->node);
    list_remove(&e->due);
    h2_stream_drop(&e->stream);
    if (e->carrier) mux_lost_one(e->carrier, c);
    pool_free(&conn_worker(c)->exchange_pool, e);
}

const struct h2_ops exchange_ops = {.begin = begin,
                                    .go_on = go_on,
                                    .data = on_data,
                                    .end = on_end,
                                    .size = size_of,
                                    .pull = pull,
                                    .closed = on_closed};
