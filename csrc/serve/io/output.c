/* Answers to the socket, and what its peer takes; see output.h. */
#include "serve/io/output.h"

#include "base/bounds.h"
#include "base/planted.h"
#include "serve/io/exchange.h"
#include "serve/io/secure.h"
#include "serve/io/worker.h"

/* ---- What the peer takes ------------------------------------------------------------ */

/* Time since the socket took something, or began to be full. */
int64_t output_quiet_ms(const struct conn *c) {
    return (uint32_t)conn_worker(c)->now_ms - c->tx_ms;
}

void output_note_taken(struct conn *c) {
    c->tx_ms = (uint32_t)conn_worker(c)->now_ms;
}

/* The peer may have taken some of what the kernel holds long before that wants more. */
bool output_has_taken(struct conn *c) {
    if (c->carried) return exchange_is_held_up(c); /* then its carrier is looked at */
    uint32_t before = c->held;
    c->held = sock_held(c->io.fd);
    return c->held < before;
}

bool output_is_stalled(struct conn *c) {
    if (output_quiet_ms(c) < conn_worker(c)->hub->options.stall_timeout_ms) return false;
    if (!output_has_taken(c) || PLANTED(118)) return true;
    output_note_taken(c);
    return false;
}

/* ---- Sending ------------------------------------------------------------------------ */

/* What is there, in one call: what the socket took, or a negative errno. */
static ssize_t send_some(struct conn *c) {
    const struct talk *t = c->talk;
    if (c->carried) {
        ssize_t n = exchange_send(c, slice_of(NULL, 0));
        return n == SOCK_QUEUED ? 0 : n;
    }
    struct slice head = slice_of(NULL, 0), body = head;
    if (t->out.n > 0) head = slice_of(t->out.p + t->out_sent, t->out.n - t->out_sent);
    if (t->file)
        body = slice_of(t->file->body.p + t->file_sent, t->file->body.n - t->file_sent);
    return conn_send(c, head, body);
}

/* Move behind them, and let go of what is out. */
void output_took(struct conn *c, size_t n) {
    struct talk *t = c->talk;
    if (!t) return;
    size_t head = t->out.n - t->out_sent;
    t->out_sent += n < head ? n : head;
    t->file_sent += n < head ? 0 : n - head;
    if (n > 0 && !PLANTED(118)) output_note_taken(c);
    c->held += (uint32_t)n; /* so that what the peer takes from now on is seen */
    if (conn_unsent(c) > 0) return;
    buf_free(&t->out);
    static_file_unref(t->file);
    t->file = NULL;
    t->out_sent = t->file_sent = 0;
    if (c->phase == CONN_HEAD && t->scanned == 0) t->since_ms = conn_worker(c)->now_ms;
}

/* True when nothing is left to send. */
bool output_flush(struct conn *c) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    while (!c->doomed && conn_unsent(c) > 0) {
        ssize_t n = send_some(c);
        if (n == 0) return false;
        if (n < 0) conn_doom(c, END_GONE);
        else output_took(c, (size_t)n);
    }
    return !c->doomed;
}

/* ---- Answers ------------------------------------------------------------------------ */

void output_share(struct conn *c, struct static_file *file) {
    if (file->body.n == 0) return;
    c->talk->file = static_file_ref(file);
    c->talk->file_sent = 0;
}

int output_answer(struct conn *c, int status, const char *code, const char *message) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    struct worker *w = conn_worker(c);
    struct request *r = c->talk->request;
    struct http_to to = {
        .date = &w->date, .now = w->wall_s, .minor = c->carried ? HTTP_2 : 1};
    if (r) to = request_to(r, &w->date, w->wall_s);
    to.keep_alive = c->keep_alive;
    struct http_error e = {.status = status, .code = code, .message = message};
    int err = http_write_error(&c->talk->out, &to, &e, (struct http_fields){0});
    if (err < 0) conn_doom(c, END_OVERLOAD);
    return err;
}

int output_take(struct conn *c, struct request *r) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    struct buf *out = &c->talk->out;
    if (out->n > 0) return buf_add(out, r->answer.p, r->answer.n);
    buf_free(out);
    *out = r->answer;
    buf_init(&r->answer);
    return 0;
}
