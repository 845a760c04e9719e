/* The HTTP conversation of one connection; see conn.h. */
#include "serve/conn.h"

#include "base/bounds.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/status.h"
#include "net/http_parse.h"
#include "net/url.h"
#include "serve/dispatch.h"
#include "serve/outlet.h"
#include "serve/server.h"
#include "serve/worker.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static void process(struct conn *c);

/* ---- Life --------------------------------------------------------------------------- */

static void on_io(struct ev_loop *ev, struct ev_io *io, int events);

struct conn *conn_new(struct worker *w, int fd, const struct in6_addr *ip) {
    struct conn *c = pool_new(&w->conn_pool);
    c->talk = mem_new(sizeof *c->talk);
    c->talk->ip = *ip;
    c->talk->since_ms = w->now_ms;
    ev_io_init(&c->io, on_io, fd, EV_READ);
    c->io.data = w;
    list_add(&w->conns, &c->node);
    w->n_conns++;
    atomic_fetch_add_explicit(&w->counters.connections, 1, memory_order_relaxed);
    wheel_timer_init(&c->timer);
    wheel_set(&w->wheel, &c->timer, w->now_ms + w->server->options.idle_timeout_ms);
    ev_io_start(w->loop.ev, &c->io);
    return c;
}

void conn_doom(struct conn *c, enum end_reason reason) {
    if (c->doomed) return;
    c->doomed = true;
    if (c->streams && !c->outlet.stream.reason) c->outlet.stream.reason = reason;
    ev_io_stop(conn_worker(c)->loop.ev, &c->io);
    wheel_cancel(&c->timer);
    list_remove(&c->node);
    list_add(&conn_worker(c)->doomed, &c->node);
}

/* The app need not answer any more; what it did not take it never will. */
static void abandon(struct request *r) {
    r->conn = NULL;
    int queued = REQUEST_QUEUED;
    if (!atomic_compare_exchange_strong(&r->state, &queued, REQUEST_CANCELLED))
        server_cancel(r);
}

static void drop_request(struct conn *c) {
    if (!c->talk->request) return;
    abandon(c->talk->request);
    request_unref(c->talk->request);
}

static void free_talk(struct conn *c) {
    buf_free(&c->talk->in);
    buf_free(&c->talk->out);
    mem_free(c->talk);
    c->talk = NULL;
}

void conn_end_talk(struct conn *c) {
    if (c->phase != CONN_STREAM || !c->talk) return;
    if (!c->talk->request && conn_unsent(c) == 0) free_talk(c);
}

void conn_end_request(struct conn *c) {
    request_unref(c->talk->request);
    c->talk->request = NULL;
    conn_end_talk(c);
}

void conn_free(struct conn *c) {
    struct worker *w = conn_worker(c);
    if (c->streams) outlet_close(&c->outlet);
    if (c->talk) drop_request(c);
    if (c->talk) free_talk(c);
    list_remove(&c->node);
    w->n_conns--;
    atomic_fetch_sub_explicit(&w->counters.connections, 1, memory_order_relaxed);
    close(c->io.fd);
    pool_free(&w->conn_pool, c);
}

void conn_watch(struct conn *c, int events) {
    if (c->doomed || c->io.events == (events | (c->io.events & EV__IOFDSET))) return;
    ev_io_stop(conn_worker(c)->loop.ev, &c->io);
    ev_io_set(&c->io, c->io.fd, events);
    if (events) ev_io_start(conn_worker(c)->loop.ev, &c->io);
}

static void set_timer(struct conn *c, int64_t after_ms) {
    wheel_set(&conn_worker(c)->wheel, &c->timer, conn_worker(c)->now_ms + after_ms);
}

/* ---- Writing ------------------------------------------------------------------------ */

static void start_linger(struct conn *c) {
    c->phase = CONN_LINGER;
    shutdown(c->io.fd, SHUT_WR);
    set_timer(c, LINGER_TIMEOUT_MS);
    conn_watch(c, EV_READ);
}

void conn_send_out(struct conn *c) {
    if (c->doomed || c->phase == CONN_STREAM) return;
    while (conn_unsent(c) > 0) {
        ssize_t n = send(c->io.fd, c->talk->out.p + c->talk->out_sent, conn_unsent(c),
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
            conn_watch(c, c->phase == CONN_FLUSH ? EV_WRITE : EV_READ | EV_WRITE);
            return;
        }
        if (n < 0) {
            conn_doom(c, END_GONE);
            return;
        }
        c->talk->out_sent += (size_t)n;
    }
    if (c->talk) buf_free(&c->talk->out);
    if (c->talk) c->talk->out_sent = 0;
    if (c->phase == CONN_FLUSH) start_linger(c);
    else conn_watch(c, c->half_closed ? 0 : EV_READ);
}

void conn_finish(struct conn *c) {
    if (c->doomed) return;
    c->phase = CONN_FLUSH;
    c->keep_alive = false;
    set_timer(c, conn_worker(c)->server->options.stall_timeout_ms);
    conn_send_out(c);
}

/* An answer is queued: on to the next request, or to the end. */
static void next_request(struct conn *c) {
    request_unref(c->talk->request);
    c->talk->request = NULL;
    if (!c->keep_alive || conn_worker(c)->draining) {
        conn_finish(c);
        return;
    }
    c->phase = CONN_HEAD;
    c->talk->seen = 0;
    c->talk->since_ms = conn_worker(c)->now_ms;
    set_timer(c, conn_worker(c)->server->options.idle_timeout_ms);
}

int conn_answer(struct conn *c, int status, const char *code, const char *message) {
    struct worker *w = conn_worker(c);
    struct request *r = c->talk->request;
    struct http_to to = {.date = &w->date, .now = w->wall_s, .minor = 1};
    if (r) to = request_to(r, &w->date, w->wall_s);
    to.keep_alive = c->keep_alive;
    struct http_error e = {.status = status, .code = code, .message = message};
    int err = http_write_error(&c->talk->out, &to, &e, (struct http_fields){0});
    if (err < 0) conn_doom(c, END_OVERLOAD);
    return err;
}

/* A request that cannot be understood: one answer, then the end. */
static void refuse(struct conn *c, int status) {
    c->keep_alive = false;
    if (conn_answer(c, status, NULL, NULL) == 0) next_request(c);
}

/* The status that dispatch_check found, now that nothing of the request is left. */
static void answer_refused(struct conn *c) {
    int status = c->talk->request->refused;
    c->talk->request->refused = 0;
    dispatch_refuse(c, c->talk->request, status);
    next_request(c);
}

/* ---- Bodies ------------------------------------------------------------------------- */

static void run_request(struct conn *c) {
    c->phase = CONN_WAIT;
    c->talk->since_ms = conn_worker(c)->now_ms;
    wheel_cancel(&c->timer);
    if (dispatch(c, c->talk->request)) next_request(c);
    else if (c->phase == CONN_WAIT && c->talk->request->route->kind == ROUTE_STREAM)
        set_timer(c, conn_worker(c)->server->options.late_head_ms);
    else if (c->phase == CONN_WAIT) set_timer(c, QUEUE_TIMEOUT_MS);
}

/* Use what is there of a chunked body; false when more must come. */
static bool read_chunks(struct conn *c) {
    size_t used = 0;
    while (!c->talk->request->chunks->done) {
        struct slice data;
        int n = http_chunks_next(c->talk->request->chunks, c->talk->in.p + used,
                                 c->talk->in.n - used, &data);
        if (n > 0 && buf_add(&c->talk->request->body, data.p, data.n) < 0) n = -503;
        if (n < 0) {
            refuse(c, -n);
            return false;
        }
        if (n == 0) break;
        used += (size_t)n;
    }
    buf_shift(&c->talk->in, used);
    return c->talk->request->chunks->done;
}

static bool read_length(struct conn *c) {
    size_t n = c->talk->in.n < c->talk->request->body_left
                   ? c->talk->in.n
                   : (size_t)c->talk->request->body_left;
    if (buf_add(&c->talk->request->body, c->talk->in.p, n) < 0) {
        refuse(c, 503);
        return false;
    }
    buf_shift(&c->talk->in, n);
    c->talk->request->body_left -= n;
    return c->talk->request->body_left == 0;
}

static void on_body(struct conn *c) {
    bool complete = c->talk->request->chunks ? read_chunks(c) : read_length(c);
    if (complete && c->talk->request->refused) answer_refused(c);
    else if (complete) run_request(c);
}

/* The head is read: fetch the body, if there is one, then run. */
static void start_body(struct conn *c, const struct http_head *head) {
    const struct serve_options *o = &conn_worker(c)->server->options;
    if (head->body == HTTP_BODY_NONE) {
        if (c->talk->request->refused) answer_refused(c);
        else run_request(c);
        return;
    }
    if (c->talk->request->refused &&
        head->expect_continue) { /* it waits for our word: no body, then */
        c->keep_alive = false;
        answer_refused(c);
        return;
    }
    if (head->body == HTTP_BODY_LENGTH && head->content_length > o->max_body) {
        refuse(c, 413);
        return;
    }
    c->talk->request->body_left = head->content_length;
    if (head->body == HTTP_BODY_CHUNKED) {
        c->talk->request->chunks = mem_new(sizeof *c->talk->request->chunks);
        http_chunks_init(c->talk->request->chunks, o->max_body);
    }
    if (head->expect_continue && c->talk->in.n == 0 &&
        http_write_continue(&c->talk->out) < 0) {
        conn_doom(c, END_OVERLOAD);
        return;
    }
    c->phase = CONN_BODY;
    c->talk->since_ms = conn_worker(c)->now_ms;
    set_timer(c, o->body_timeout_ms);
}

/* ---- Heads -------------------------------------------------------------------------- */

/* The slices of the head point into 'base', where the connection received it: rebase them
 * on the request's own bytes. The "/" of a target without a path is a constant. */
static struct slice rebase(struct slice s, const char *base, const struct request *r) {
    uintptr_t offset = (uintptr_t)s.p - (uintptr_t)base;
    return s.p && offset < r->bytes.n ? slice_of(r->bytes.p + offset, s.n) : s;
}

/* The head's bytes go to the request: as they are when nothing came behind them, as nearly
 * always; else as a copy. */
static int take_head(struct conn *c, struct request *r, size_t n) {
    if (n == c->talk->in.n) {
        r->bytes = c->talk->in;
        buf_init(&c->talk->in);
        return 0;
    }
    int err = buf_add(&r->bytes, c->talk->in.p, n);
    buf_shift(&c->talk->in, n);
    return err;
}

/* Decode the path; "*" of an OPTIONS stays, and so does what is no path. 0 or the status
 * to refuse with. */
static int read_path(struct request *r, struct slice raw) {
    bool star = slice_eq_lit(raw, "*");
    int n = star ? 1 : url_path(raw, r->path);
    if (star || n < 0) memcpy(r->path, raw.p, raw.n);
    r->path_n = n < 0 ? raw.n : (size_t)n;
    r->path[r->path_n] = '\0';
    return n < 0 ? -n : 0;
}

static struct request *make_request(struct conn *c, const struct http_head *head,
                                    size_t n, bool is_cut) {
    struct request *r = request_new();
    r->is_cut = is_cut;
    r->worker = conn_worker(c);
    r->conn = c;
    r->fields = mem_try((head->n_fields + 1) * sizeof *r->fields);
    r->path = mem_try(head->path.n + 1);
    const char *base = c->talk->in.p;
    if (!r->fields || !r->path || take_head(c, r, n) < 0) {
        request_unref(r);
        return NULL;
    }
    for (unsigned i = 0; i < head->n_fields; i++) {
        r->fields[i].name = rebase(head->fields[i].name, base, r);
        r->fields[i].value = rebase(head->fields[i].value, base, r);
    }
    r->n_fields = head->n_fields;
    r->method = rebase(head->method, base, r);
    r->query = rebase(head->query, base, r);
    r->host = rebase(head->host, base, r);
    r->minor = head->minor;
    r->is_head = head->verb == HTTP_HEAD;
    r->refused = read_path(r, rebase(head->path, base, r));
    r->keep_alive = c->keep_alive;
    r->routes = conn_worker(c)->routes ? routes_ref(conn_worker(c)->routes) : NULL;
    address_format(&c->talk->ip, r->ip);
    request_find_cors(r);
    return r;
}

static void on_head(struct conn *c, const struct http_head *head, size_t n) {
    c->keep_alive = head->keep_alive && !conn_worker(c)->draining;
    struct request *r = make_request(c, head, n, false);
    atomic_fetch_add_explicit(&conn_worker(c)->counters.requests, 1,
                              memory_order_relaxed);
    if (!r) {
        refuse(c, 503);
        return;
    }
    c->talk->request = r;
    if (head->status) r->refused = head->status;
    if (r->refused == 0) r->refused = dispatch_check(c, r);
    r->keep_alive = c->keep_alive;
    start_body(c, head);
}

/* The answer to what is no head, with what could be understood of it. */
static void refuse_head(struct conn *c, const struct http_head *head, int status) {
    c->keep_alive = false;
    c->talk->request = head->path.p ? make_request(c, head, c->talk->in.n, true) : NULL;
    if (!c->talk->request) {
        refuse(c, status);
        return;
    }
    dispatch_refuse(c, c->talk->request, status);
    next_request(c);
}

static void parse_head(struct conn *c) {
    struct http_head head; /* 3 KiB, of which only what is used gets written */
    int n = http_parse_head(c->talk->in.p, c->talk->in.n, c->talk->seen, &head);
    if (n > 0) {
        on_head(c, &head, (size_t)n);
    } else if (n < 0) {
        refuse_head(c, &head, -n);
    } else {
        if (c->talk->seen == 0) {
            c->talk->since_ms = conn_worker(c)->now_ms;
            set_timer(c, conn_worker(c)->server->options.head_timeout_ms);
        }
        c->talk->seen = (uint32_t)c->talk->in.n;
    }
}

/* Go on as far as what was received reaches. Answers wait for each other: while too much
 * is unsent nothing more is parsed. */
static void process(struct conn *c) {
    for (;;) {
        size_t before = c->talk ? c->talk->in.n : 0;
        enum conn_phase phase = c->phase;
        if (c->doomed || before == 0 || conn_unsent(c) > OUTPUT_BYTES_MAX) break;
        if (phase == CONN_HEAD) parse_head(c);
        else if (phase == CONN_BODY) on_body(c);
        if (c->phase == phase && c->talk->in.n == before) break;
    }
    if (c->doomed || c->phase == CONN_STREAM) return;
    if (c->half_closed && c->phase == CONN_HEAD && conn_unsent(c) <= OUTPUT_BYTES_MAX)
        conn_finish(c); /* all that it asked before it closed its half is answered */
    else if (conn_unsent(c) > 0) conn_send_out(c);
}

/* ---- Reading ------------------------------------------------------------------------ */

static void on_eof(struct conn *c) {
    c->half_closed = true;
    bool answering =
        c->phase == CONN_WAIT && c->talk->request->route->kind != ROUTE_STREAM;
    if (answering || c->phase == CONN_FLUSH)
        conn_watch(c, EV_WRITE * (conn_unsent(c) > 0));
    else conn_doom(c, END_GONE);
}

/* Bytes that nobody asked for are counted and dropped. */
static void pass(struct conn *c, size_t n, unsigned max) {
    n += c->passed;
    if (n > max) conn_doom(c, END_GONE);
    else c->passed = (uint16_t)n;
}

static void on_input(struct conn *c, size_t n) {
    if (c->phase == CONN_STREAM) { /* nothing is asked behind a stream */
        pass(c, n, STREAM_INPUT_MAX);
        return;
    }
    if (c->phase == CONN_LINGER || !c->talk) {
        pass(c, n, LINGER_BYTES_MAX);
        return;
    }
    if (buf_add(&c->talk->in, conn_worker(c)->input, n) < 0) {
        conn_doom(c, END_OVERLOAD);
        return;
    }
    if (c->phase == CONN_WAIT && c->talk->in.n > INPUT_BYTES_MAX) conn_watch(c, 0);
    else process(c);
}

static void on_readable(struct conn *c) {
    ssize_t n = recv(c->io.fd, conn_worker(c)->input, WORKER_INPUT_BYTES, MSG_DONTWAIT);
    if (n > 0) on_input(c, (size_t)n);
    else if (n == 0) on_eof(c);
    else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        conn_doom(c, END_GONE);
}

static void on_io(struct ev_loop *ev, struct ev_io *io, int events) {
    (void)ev;
    struct conn *c = container_of(io, struct conn, io);
    if (events & EV_WRITE) {
        if (c->phase == CONN_STREAM) {
            outlet_writable(&c->outlet);
        } else {
            conn_send_out(c);
            process(c);
        }
    }
    if ((events & EV_READ) && !c->doomed) on_readable(c);
}

/* ---- Time and answers --------------------------------------------------------------- */

/* The app has not taken the request in time: give up, surely before any handler ran. */
static bool give_up(struct conn *c) {
    int queued = REQUEST_QUEUED;
    struct request *r = c->talk ? c->talk->request : NULL;
    if (!r || conn_worker(c)->now_ms - c->talk->since_ms < QUEUE_TIMEOUT_MS) return false;
    if (!atomic_compare_exchange_strong(&r->state, &queued, REQUEST_CANCELLED))
        return false;
    dispatch_overload(c, r);
    return true;
}

/* The head is out and the plan does not come: the stream ends, the plan is cancelled. */
static bool give_up_plan(struct conn *c) {
    struct request *r = c->talk ? c->talk->request : NULL;
    if (!r) return false;
    int64_t waited = conn_worker(c)->now_ms - c->talk->since_ms;
    if (waited < conn_worker(c)->server->options.request_timeout_ms) return false;
    r->conn = NULL;
    server_cancel(r);
    outlet_refuse(c, r, END_ERROR, 0);
    conn_end_request(c);
    return true;
}

static void on_wait_timer(struct conn *c) {
    struct request *r = c->talk->request;
    int64_t waited = conn_worker(c)->now_ms - c->talk->since_ms;
    if (give_up(c)) return;
    if (r->route->kind == ROUTE_STREAM && r->is_head) { /* as late as a stream's head */
        abandon(r);
        dispatch_head(c, r);
        next_request(c);
        conn_send_out(c);
        return;
    }
    if (r->route->kind == ROUTE_STREAM) {
        if (outlet_open(c, r, NULL, NULL) < 0) conn_doom(c, END_OVERLOAD);
        return;
    }
    if (waited < conn_worker(c)->server->options.request_timeout_ms) {
        int64_t left = conn_worker(c)->server->options.request_timeout_ms - waited;
        set_timer(c, waited < QUEUE_TIMEOUT_MS && left > QUEUE_TIMEOUT_MS
                         ? QUEUE_TIMEOUT_MS - waited
                         : left);
        return;
    }
    r->conn = NULL;
    server_cancel(r);
    if (conn_answer(c, 504, NULL, NULL) == 0) next_request(c);
    conn_send_out(c);
}

void conn_on_timer(struct conn *c) {
    struct serve_options *o = &conn_worker(c)->server->options;
    switch (c->phase) {
    case CONN_HEAD:
        if (c->talk->in.n == 0) conn_doom(c, END_GONE);
        else refuse(c, 408);
        break;
    case CONN_BODY: {
        int64_t allowed = o->body_timeout_ms +
                          (int64_t)(c->talk->request->body.n / BODY_RATE_MIN) * 1000;
        int64_t waited = conn_worker(c)->now_ms - c->talk->since_ms;
        if (waited < allowed) set_timer(c, allowed - waited);
        else refuse(c, 408);
        break;
    }
    case CONN_WAIT: on_wait_timer(c); break;
    case CONN_STREAM:
        if (!give_up(c) && !give_up_plan(c)) outlet_on_timer(&c->outlet);
        break;
    case CONN_FLUSH:
    case CONN_LINGER: conn_doom(c, END_GONE); break;
    }
}

/* How a stream ends in place of the status: browsers never come back after a 5xx or 429,
 * and a late head has said 200. END_NONE: the status itself. */
static enum end_reason refusal(const struct conn *c, const struct request *r) {
    if (r->route->kind != ROUTE_STREAM) return END_NONE;
    if (r->status == 429 || r->status == 503) return END_OVERLOAD;
    if (r->status >= 500) return END_ERROR;
    if (!c->streams) return END_NONE;
    if (r->status == 204) return END_STOP;
    return r->status >= 400 ? END_DENIED : END_ERROR;
}

static void refuse_stream(struct conn *c, struct request *r, enum end_reason reason) {
    outlet_refuse(c, r, reason, c->streams ? r->status : 0);
    dispatch_log(c, r, r->status);
    conn_end_request(c);
}

void conn_on_reply(struct conn *c, struct request *r) {
    if (c->streams && c->outlet.stream.ending) { /* bye was said while it was late */
        server_on_closed(r->client, END_GONE);
        conn_end_request(c);
        return;
    }
    enum end_reason reason = r->reply == REPLY_STREAM ? END_NONE : refusal(c, r);
    if (r->is_head && (r->reply == REPLY_STREAM || reason)) {
        dispatch_head(c, r);
        next_request(c);
    } else if (r->reply == REPLY_STREAM) {
        dispatch_stream(c, r, r->plan, r->client);
    } else if (reason) {
        refuse_stream(c, r, reason);
    } else {
        bool queued = buf_add(&c->talk->out, r->answer.p, r->answer.n) == 0;
        dispatch_log(c, r, r->status);
        if (queued) next_request(c);
        else conn_doom(c, END_OVERLOAD);
    }
    if (c->doomed || c->phase == CONN_STREAM) return;
    process(c);
    if (!c->doomed && c->phase == CONN_HEAD && c->talk->out.n == 0)
        conn_watch(c, EV_READ);
}

void conn_drain(struct conn *c, int64_t window_ms) {
    if (c->doomed) return;
    if (c->phase == CONN_HEAD && c->talk->in.n == 0) on_readable(c); /* asked in time */
    if (c->doomed) return;
    if (c->phase == CONN_HEAD && c->talk->in.n == 0 && c->talk->out.n == 0)
        conn_doom(c, END_DRAIN);
    else if (c->phase == CONN_STREAM) outlet_drain(&c->outlet, window_ms);
    c->keep_alive = false;
}
