/* Bodies in pieces; see upload.h. */
#include "serve/io/upload.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/planted.h"
#include "serve/io/input.h"
#include "serve/io/worker.h"
#include "serve/to_app.h"
#include "serve/to_io.h"

static struct upload *upload_of(const struct conn *c) {
    return c->talk && c->talk->request ? c->talk->request->upload : NULL;
}

bool upload_is_open(const struct conn *c) {
    const struct upload *u = upload_of(c);
    return u && !u->over;
}

static bool waits(const struct conn *c) {
    return upload_is_open(c) && upload_of(c)->wanted;
}

/* ---- Begin and end ------------------------------------------------------------------ */

int upload_begin(struct conn *c, const struct http_head *head) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    struct request *r = c->talk->request;
    uint64_t max = r->route->body_max;
    if (head->body == HTTP_BODY_LENGTH && head->content_length > max) return 413;
    struct upload *u = mem_new(sizeof *u);
    r->upload = u;
    u->request = r;
    u->continues = head->expect_continue;
    r->body_left = head->content_length;
    if (head->body == HTTP_BODY_CHUNKED) {
        r->chunks = mem_new(sizeof *r->chunks);
        http_chunks_init(r->chunks, max);
    }
    c->keep_alive = false;
    return 0;
}

void upload_leave(struct conn *c) {
    struct upload *u = upload_of(c);
    if (!u) return;
    if (!u->over) {
        c->keep_alive = false;
        c->talk->spare = LINGER_BODY_MAX;
    }
    if (u->wanted) request_unref(u->request); /* no piece will take it along */
    u->wanted = false;
}

/* All of it was read: what follows is the next request. */
static void end(struct conn *c, struct upload *u) {
    u->over = true;
    if (PLANTED(121)) return;
    c->keep_alive = u->request->keep_alive && !conn_worker(c)->draining;
}

/* ---- Pieces ------------------------------------------------------------------------- */

/* These take what is there: 0, or minus the status that says what is wrong. */

static int take_chunks(struct talk *t, struct upload *u) {
    struct http_chunks *chunks = t->request->chunks;
    size_t used = 0;
    int n = 1;
    while (n > 0 && !chunks->done) {
        struct slice data;
        n = http_chunks_next(chunks, t->in.p + used, t->in.n - used, &data);
        if (n > 0) used += (size_t)n;
        if (n > 0 && buf_add(&u->piece.bytes, data.p, data.n) < 0) n = -503;
    }
    buf_shift(&t->in, used);
    u->piece.last = chunks->done;
    return n < 0 ? n : 0;
}

/* As they are when nothing came behind them, as nearly always. */
static int take_length(struct talk *t, struct upload *u) {
    uint64_t left = t->request->body_left;
    size_t n = t->in.n < left ? t->in.n : (size_t)left;
    if (n == t->in.n) {
        u->piece.bytes = t->in;
        buf_init(&t->in);
    } else {
        if (buf_add(&u->piece.bytes, t->in.p, n) < 0) return -503;
        buf_shift(&t->in, n);
    }
    t->request->body_left -= n;
    u->piece.last = n == left || PLANTED(120);
    return 0;
}

static void post(struct conn *c, struct upload *u) {
    int64_t now = conn_worker(c)->now_ms;
    u->wanted = false;
    u->waited_ms += now - u->wanted_ms;
    u->posted_ms = now;
    u->received += u->piece.bytes.n;
    to_app_piece(u->request);
}

/* The body ends here, and not as it should: the app is told, and answers. */
static void fail(struct conn *c, struct upload *u, int status) {
    buf_free(&u->piece.bytes);
    u->over = true;
    u->piece.status = status;
    c->talk->spare = LINGER_BODY_MAX;
    post(c, u);
}

/* The client has said all that it will, and it was not the whole body. */
static void cut(struct conn *c) {
    conn_drop_request(c);
    conn_finish(c);
}

void upload_feed(struct conn *c) {
    if (!waits(c)) return;
    struct talk *t = c->talk;
    struct upload *u = upload_of(c);
    int err = 0;
    if (t->in.n > 0) err = t->request->chunks ? take_chunks(t, u) : take_length(t, u);
    if (err < 0) fail(c, u, -err);
    else if (u->piece.last) end(c, u), post(c, u);
    else if (u->piece.bytes.n > 0) post(c, u);
    else if (c->half_closed && !PLANTED(124)) cut(c);
}

/* What is wrong with a body stays wrong. */
static void want(struct conn *c, struct upload *u) {
    u->wanted = true;
    u->wanted_ms = conn_worker(c)->now_ms;
    if (u->over) {
        post(c, u);
        return;
    }
    bool waits_for_us =
        u->continues && c->talk->in.n == 0 && u->received == 0 && !PLANTED(123);
    u->continues = false;
    if (waits_for_us && http_write_continue(&c->talk->out) < 0) fail(c, u, 503);
    else if (!c->half_closed && upload_room(c) > 0) conn_read(c);
    conn_go_on(c);
}

void io_on_want(void *owner, struct message *m) {
    (void)owner;
    struct upload *u = container_of(m, struct upload, want);
    struct request *r = u->request;
    /* the reference goes on with the piece; without a connection none will come */
    if (r->conn && !r->conn->doomed) want(r->conn, u);
    else request_unref(r);
}

/* ---- Room and time ------------------------------------------------------------------ */

size_t upload_room(const struct conn *c) {
    size_t have = c->talk->in.n, most = waits(c) ? PIECE_BYTES_MAX : INPUT_BYTES_MAX;
    const struct request *r = c->talk->request;
    if (!r->chunks && r->body_left < most) most = (size_t)r->body_left;
    return have < most ? most - have : 0;
}

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Something has to come in time, and in the long run it has to be BODY_RATE_MIN. */
int64_t upload_due_ms(const struct conn *c) {
    if (!waits(c)) return INT64_MAX;
    const struct upload *u = upload_of(c);
    int64_t allowed = conn_worker(c)->hub->options.body_timeout_ms;
    int64_t earned = (int64_t)(u->received / BODY_RATE_MIN) * 1000;
    return u->wanted_ms + earlier(allowed, allowed + earned - u->waited_ms);
}

int64_t upload_app_due_ms(const struct conn *c) {
    const struct upload *u = upload_of(c);
    int64_t allowed = conn_worker(c)->hub->options.request_timeout_ms;
    if (waits(c)) return INT64_MAX;
    int64_t since = c->talk->request->taken_ms;
    return (u->posted_ms > since ? u->posted_ms : since) + allowed;
}

void upload_on_late(struct conn *c) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    fail(c, upload_of(c), 408);
}
