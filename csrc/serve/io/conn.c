/* The conversation of one connection; see conn.h. */
#include "serve/io/conn.h"

#include "base/bounds.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"
#include "serve/io/dispatch.h"
#include "serve/io/input.h"
#include "serve/io/outlet.h"
#include "serve/io/worker.h"
#include "serve/to_app.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* ---- Life --------------------------------------------------------------------------- */

static void on_io(struct ev_loop *ev, struct ev_io *io, int events);

struct conn *conn_new(struct worker *w, int fd, const struct in6_addr *ip) {
    struct conn *c = pool_new(&w->conn_pool);
    c->talk = mem_new(sizeof *c->talk);
    c->talk->ip = *ip;
    c->talk->since_ms = w->now_ms;
    ev_io_init(&c->io, on_io, fd, 0);
    c->io.data = w;
    list_add(&w->conns, &c->node);
    w->n_conns++;
    atomic_fetch_add_explicit(&w->lane.counters.connections, 1, memory_order_relaxed);
    wheel_timer_init(&c->timer);
    conn_go_on(c);
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
static void drop_request(struct conn *c) {
    struct request *r = c->talk->request;
    if (!r) return;
    r->conn = NULL;
    if (!queue_withdraw(r)) to_app_cancel(r);
    request_unref(r);
    c->talk->request = NULL;
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
    atomic_fetch_sub_explicit(&w->lane.counters.connections, 1, memory_order_relaxed);
    close(c->io.fd);
    pool_free(&w->conn_pool, c);
}

/* ---- What it waits for -------------------------------------------------------------- */

/* Bytes that its peer has not acknowledged. */
static uint32_t held_by_kernel(const struct conn *c) {
    int n = 0;
    return ioctl(c->io.fd, SIOCOUTQ, &n) == 0 && n > 0 ? (uint32_t)n : 0;
}

/* Time since the socket took something, or began to be full. */
static int64_t quiet_ms(const struct conn *c) {
    return (uint32_t)conn_worker(c)->now_ms - c->tx_ms;
}

static void note_taken(struct conn *c) {
    c->tx_ms = (uint32_t)conn_worker(c)->now_ms;
}

/* The peer may have taken some of what the kernel holds long before that wants more. */
static bool has_taken(struct conn *c) {
    uint32_t before = c->held;
    c->held = held_by_kernel(c);
    return c->held < before;
}

bool conn_is_stalled(struct conn *c) {
    if (quiet_ms(c) < conn_worker(c)->hub->options.stall_timeout_ms) return false;
    if (!has_taken(c) || PLANTED(118)) return true;
    note_taken(c);
    return false;
}

static int wanted(const struct conn *c) {
    switch (c->phase) {
    case CONN_STREAM: return c->outlet.pinned ? EV_READ | EV_WRITE : EV_READ;
    case CONN_FLUSH: return EV_WRITE;
    case CONN_LINGER: return c->passed < LINGER_BYTES_MAX ? EV_READ : 0;
    default: break;
    }
    int reads = !c->half_closed && input_room(c) > 0 ? EV_READ : 0;
    return conn_unsent(c) > 0 ? reads | EV_WRITE : reads;
}

void conn_watch(struct conn *c) {
    int events = wanted(c), before = c->io.events & (EV_READ | EV_WRITE);
    if (c->doomed || events == before) return;
    if (events & ~before & EV_WRITE) { /* it is full from now on */
        note_taken(c);
        c->held = held_by_kernel(c);
    }
    ev_io_stop(conn_worker(c)->loop.ev, &c->io);
    ev_io_set(&c->io, c->io.fd, events);
    if (events) ev_io_start(conn_worker(c)->loop.ev, &c->io);
}

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Between requests it may be idle; what it has not taken yet is another matter. */
static int64_t head_due(const struct conn *c) {
    const struct serve_options *o = &conn_worker(c)->hub->options;
    if (c->talk->seen > 0) return c->talk->since_ms + o->head_timeout_ms;
    return conn_unsent(c) > 0 ? INT64_MAX : c->talk->since_ms + o->idle_timeout_ms;
}

static int64_t body_due(const struct conn *c) {
    return c->talk->since_ms + conn_worker(c)->hub->options.body_timeout_ms +
           (int64_t)(c->talk->request->body.n / BODY_RATE_MIN) * 1000;
}

int64_t conn_reply_due(const struct conn *c) {
    const struct worker *w = conn_worker(c);
    struct request *r = c->talk->request;
    int64_t allowed = w->hub->options.request_timeout_ms;
    if (atomic_load(&r->state) == REQUEST_TAKEN) return r->taken_ms + allowed;
    /* taken in the next moment it would be due then */
    int64_t due = earlier(c->talk->since_ms + QUEUE_TIMEOUT_MS, w->now_ms + allowed);
    return w->draining ? earlier(due, worker_stops_ms(w)) : due;
}

/* When a stream's head goes out although its plan has not come. */
static int64_t late_due(const struct conn *c) {
    if (c->talk->request->route->kind != ROUTE_STREAM) return INT64_MAX;
    return c->talk->since_ms + conn_worker(c)->hub->options.late_head_ms;
}

/* When to look at it, whatever comes; INT64_MAX: no need. A stream's outlet knows its own
 * time. */
static int64_t due_ms(const struct conn *c) {
    int64_t taken = conn_worker(c)->now_ms - quiet_ms(c), due = INT64_MAX;
    if (c->phase == CONN_LINGER) return taken + LINGER_TIMEOUT_MS;
    if (c->phase == CONN_HEAD) due = head_due(c);
    else if (c->phase == CONN_BODY) due = body_due(c);
    else if (c->phase == CONN_WAIT) due = earlier(conn_reply_due(c), late_due(c));
    if (conn_unsent(c) == 0) return due;
    return earlier(due, taken + conn_worker(c)->hub->options.stall_timeout_ms);
}

/* A time that moves later is only noted: the wheel looks again when the old one comes. */
static void set_timer(struct conn *c) {
    int64_t due = due_ms(c);
    if (due == INT64_MAX) wheel_cancel(&c->timer);
    else if (!list_empty(&c->timer.node) && due >= c->timer.at_ms) c->timer.at_ms = due;
    else wheel_set(&conn_worker(c)->wheel, &c->timer, due);
}

/* ---- Writing ------------------------------------------------------------------------ */

static void start_linger(struct conn *c) {
    if (c->half_closed) { /* it has said all: nothing can come that would kill the answer */
        conn_doom(c, END_GONE);
        return;
    }
    c->phase = CONN_LINGER;
    shutdown(c->io.fd, SHUT_WR);
    note_taken(c);
    c->held = held_by_kernel(c);
}

/* What is there, in one call: what the socket took, or a negative errno. */
static ssize_t send_some(const struct conn *c) {
    const struct talk *t = c->talk;
    struct iovec parts[2];
    struct msghdr message = {.msg_iov = parts};
    if (t->out.n > t->out_sent)
        parts[message.msg_iovlen++] =
            (struct iovec){t->out.p + t->out_sent, t->out.n - t->out_sent};
    if (t->file)
        parts[message.msg_iovlen++] = (struct iovec){
            (char *)t->file->body.p + t->file_sent, t->file->body.n - t->file_sent};
    ssize_t n = sendmsg(c->io.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}

/* Move behind n bytes, and let go of what is out. */
static void move_on(struct conn *c, size_t n) {
    struct talk *t = c->talk;
    size_t head = t->out.n - t->out_sent;
    t->out_sent += n < head ? n : head;
    t->file_sent += n < head ? 0 : n - head;
    if (n > 0 && !PLANTED(118)) note_taken(c);
    c->held += (uint32_t)n; /* so that what the peer takes from now on is seen */
    if (conn_unsent(c) > 0) return;
    buf_free(&t->out);
    static_file_unref(t->file);
    t->file = NULL;
    t->out_sent = t->file_sent = 0;
    if (c->phase == CONN_HEAD && t->seen == 0) t->since_ms = conn_worker(c)->now_ms;
}

/* True when nothing is left to send. */
static bool flush(struct conn *c) {
    while (!c->doomed && conn_unsent(c) > 0) {
        ssize_t n = send_some(c);
        if (n == -EAGAIN || n == -EINTR) return false;
        if (n < 0) conn_doom(c, END_GONE);
        else move_on(c, (size_t)n);
    }
    return !c->doomed;
}

void conn_go_on(struct conn *c) {
    while (!c->doomed && c->phase != CONN_STREAM) {
        bool parsed = input_parse(c);
        if (c->phase == CONN_STREAM || !flush(c) || parsed || PLANTED(115)) break;
    }
    if (c->phase == CONN_FLUSH && conn_unsent(c) == 0 && !c->doomed) start_linger(c);
    if (c->doomed) return;
    conn_watch(c);
    if (c->phase != CONN_STREAM) set_timer(c);
}

void conn_finish(struct conn *c) {
    if (c->doomed) return;
    c->phase = CONN_FLUSH;
    c->keep_alive = false;
    if (c->talk) buf_free(&c->talk->in);
}

void conn_next(struct conn *c) {
    request_unref(c->talk->request);
    c->talk->request = NULL;
    if (!c->keep_alive || conn_worker(c)->draining) {
        conn_finish(c);
        return;
    }
    if (c->talk->in.n == 0) buf_free(&c->talk->in);
    c->phase = CONN_HEAD;
    c->talk->seen = 0;
    c->talk->since_ms = conn_worker(c)->now_ms;
}

void conn_share(struct conn *c, struct static_file *file) {
    if (file->body.n == 0) return;
    c->talk->file = static_file_ref(file);
    c->talk->file_sent = 0;
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

void conn_refuse(struct conn *c, int status) {
    c->keep_alive = false;
    if (conn_answer(c, status, NULL, NULL) == 0) conn_next(c);
}

/* ---- Reading ------------------------------------------------------------------------ */

/* It will say nothing more. A stream has nobody to talk to then; what was asked before is
 * answered. */
static void on_eof(struct conn *c) {
    c->half_closed = true;
    if (c->phase == CONN_STREAM || c->phase == CONN_LINGER ||
        (PLANTED(116) && conn_unsent(c) > 0)) {
        conn_doom(c, END_GONE);
    } else if (c->phase == CONN_WAIT && request_streams(c->talk->request)) {
        drop_request(c);
        conn_finish(c);
    }
}

/* Bytes that nobody asked for are counted and dropped. Behind the last answer the peer has
 * some time to take it, read or not. */
static void pass(struct conn *c, size_t n) {
    n += c->passed;
    if (c->phase == CONN_STREAM && n > STREAM_INPUT_MAX) conn_doom(c, END_GONE);
    c->passed = (uint16_t)(n < LINGER_BYTES_MAX ? n : LINGER_BYTES_MAX);
}

static void on_readable(struct conn *c) {
    bool passes = c->phase == CONN_STREAM || c->phase == CONN_LINGER;
    size_t room = passes ? WORKER_INPUT_BYTES : input_room(c);
    char *input = conn_worker(c)->input;
    ssize_t n = recv(c->io.fd, input, room, MSG_DONTWAIT);
    if (n == 0) on_eof(c);
    else if (n > 0 && passes) pass(c, (size_t)n);
    else if (n > 0 && buf_add(&c->talk->in, input, (size_t)n) < 0)
        conn_doom(c, END_OVERLOAD);
    else if (n < 0 && errno != EAGAIN && errno != EINTR) conn_doom(c, END_GONE);
}

static void on_io(struct ev_loop *ev, struct ev_io *io, int events) {
    (void)ev;
    struct conn *c = container_of(io, struct conn, io);
    if ((events & EV_WRITE) && c->phase == CONN_STREAM) outlet_writable(&c->outlet);
    if ((events & wanted(c) & EV_READ) && !c->doomed) on_readable(c);
    conn_go_on(c);
}

/* ---- Time and answers --------------------------------------------------------------- */

/* Answer what the app shall not answer any more. */
static void end_wait(struct conn *c, int status) {
    struct request *r = c->talk->request;
    if (r->route->kind == ROUTE_STREAM) dispatch_head(c, r);
    else conn_answer(c, status, NULL, NULL);
    drop_request(c);
    conn_next(c);
}

/* The app has not begun the request, or not answered it in time: give it up. */
static bool give_up(struct conn *c) {
    struct request *r = c->talk ? c->talk->request : NULL;
    if (!r || conn_worker(c)->now_ms < conn_reply_due(c)) return false;
    if (queue_withdraw(r)) {
        dispatch_overload(c, r);
    } else if (request_streams(r)) {
        outlet_refuse(c, r, END_ERROR, 0);
        drop_request(c);
        conn_end_talk(c);
    } else {
        end_wait(c, 504);
    }
    return true;
}

static void on_wait_timer(struct conn *c) {
    struct request *r = c->talk->request;
    if (give_up(c) || conn_worker(c)->now_ms < late_due(c)) return;
    if (r->is_head) end_wait(c, 200);
    else if (outlet_open(c, r, NULL, NULL) < 0) conn_doom(c, END_OVERLOAD);
}

/* As long as the peer takes what the kernel holds it may go on: closing now would throw
 * that away if it has sent anything meanwhile. */
static void on_linger_timer(struct conn *c) {
    if (has_taken(c) && c->held > 0) note_taken(c);
    else conn_doom(c, END_GONE);
}

static void on_due(struct conn *c) {
    int64_t now = conn_worker(c)->now_ms;
    if (conn_unsent(c) > 0 && conn_is_stalled(c)) {
        conn_doom(c, END_SLOW);
        return;
    }
    switch (c->phase) {
    case CONN_HEAD:
        if (now < head_due(c)) break;
        if (c->talk->seen > 0) conn_refuse(c, 408);
        else conn_doom(c, END_GONE);
        break;
    case CONN_BODY:
        if (now >= body_due(c)) conn_refuse(c, 408);
        break;
    case CONN_WAIT: on_wait_timer(c); break;
    case CONN_LINGER: on_linger_timer(c); break;
    case CONN_STREAM:
    case CONN_FLUSH: break;
    }
}

void conn_on_timer(struct conn *c) {
    if (c->phase != CONN_STREAM) {
        on_due(c);
        conn_go_on(c);
    } else if (!give_up(c)) {
        outlet_on_timer(&c->outlet);
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

/* The answer's bytes are the connection's from here on. */
static int queue_answer(struct conn *c, struct request *r) {
    struct buf *out = &c->talk->out;
    if (out->n > 0) return buf_add(out, r->answer.p, r->answer.n);
    buf_free(out);
    *out = r->answer;
    buf_init(&r->answer);
    return 0;
}

void conn_on_reply(struct conn *c, struct request *r) {
    if (c->streams && c->outlet.stream.ending) { /* bye was said while it was late */
        to_app_closed(r->client, END_GONE);
        conn_end_request(c);
        return;
    }
    enum end_reason reason = r->reply == REPLY_STREAM ? END_NONE : refusal(c, r);
    if (r->is_head && (r->reply == REPLY_STREAM || reason)) {
        dispatch_head(c, r);
        conn_next(c);
    } else if (r->reply == REPLY_STREAM) {
        dispatch_stream(c, r, r->plan, r->client);
    } else if (r->reply == REPLY_FILE) {
        dispatch_file(c, r);
        conn_next(c);
    } else if (reason) {
        refuse_stream(c, r, reason);
    } else {
        int err = queue_answer(c, r);
        dispatch_log(c, r, r->status);
        if (err < 0) conn_doom(c, END_OVERLOAD);
        else conn_next(c);
    }
    conn_go_on(c);
}

void conn_drain(struct conn *c, int64_t window_ms) {
    if (c->doomed) return;
    if (c->phase == CONN_HEAD && c->talk->in.n == 0) on_readable(c); /* asked in time */
    conn_go_on(c);
    if (c->doomed) return;
    c->keep_alive = false;
    if (c->phase == CONN_STREAM) outlet_drain(&c->outlet, window_ms);
    if (c->phase != CONN_HEAD || c->talk->in.n > 0) return;
    if (conn_unsent(c) == 0) conn_doom(c, END_DRAIN);
    else conn_finish(c);
    conn_go_on(c);
}
