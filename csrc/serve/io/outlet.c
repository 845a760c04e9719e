/* Blocks to sockets; see outlet.h. */
#include "serve/io/outlet.h"

#include "base/log.h"
#include "base/pool.h"
#include "base/rand.h"
#include "base/status.h"
#include "fan/stream_open.h"
#include "serve/io/conn.h"
#include "serve/io/output.h"
#include "serve/io/due.h"
#include "serve/io/worker.h"
#include "serve/to_app.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static struct conn *conn_of(struct outlet *o) {
    return container_of(o, struct conn, outlet);
}

/* ---- Time --------------------------------------------------------------------------- */

/* The fan's clock: it is nearer to what a delivery touches. */
static uint32_t now_ms(const struct conn *c) {
    return (uint32_t)c->outlet.stream.fan->now_ms;
}

/* How long ago something was sent, or the stall began. */
static uint32_t quiet_ms(const struct conn *c) {
    return now_ms(c) - c->tx_ms;
}

/* Until the bye of a drain. */
static int64_t leaves_in(const struct conn *c) {
    if (c->outlet.bye_at_ms == 0) return INT64_MAX;
    int32_t left = (int32_t)(c->outlet.bye_at_ms - now_ms(c));
    return left > 0 ? left : 0;
}

/* When to look at it next: its heartbeat or, while its socket is full, its stall; and its
 * plan, while that is late. */
static void schedule(struct conn *c) {
    const struct outlet *o = &c->outlet;
    const struct worker *w = conn_worker(c);
    int64_t in = leaves_in(c), wait = INT64_MAX;
    if (o->pinned) wait = w->hub->options.stall_timeout_ms - quiet_ms(c);
    else if (o->heartbeat_ms > 0) wait = (int64_t)o->heartbeat_ms - quiet_ms(c);
    if (wait < in) in = wait;
    if (c->talk && c->talk->request) wait = due_reply_ms(c) - w->now_ms; /* the plan */
    if (wait < in) in = wait;
    if (in == INT64_MAX) wheel_cancel(&c->timer);
    else wheel_set(&conn_worker(c)->wheel, &c->timer, w->now_ms + in);
}

/* ---- Sending ------------------------------------------------------------------------ */

/* send(), without the look for a cancelled thread that the C library puts around it: that
 * is a hundredth of a delivery. */
static ssize_t send_now(int fd, struct slice bytes) {
    return syscall(SYS_sendto, fd, bytes.p, bytes.n, MSG_NOSIGNAL | MSG_DONTWAIT, NULL,
                   0);
}

/* One call: what is left of the head, then the block. Returns the bytes of the block
 * that were taken, or -1 when the socket is broken. */
static ssize_t send_with_head(struct conn *c, struct slice block) {
    size_t head = conn_unsent(c);
    if (head == 0 && block.n == 0) return 0;
    struct iovec parts[2] = {{NULL, head}, {(char *)block.p, block.n}};
    if (head) parts[0].iov_base = c->talk->out.p + c->talk->out_sent;
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t n = head ? sendmsg(c->io.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT)
                     : send_now(c->io.fd, block);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return 0;
    if (n < 0) return -1;
    if (head == 0) return n;
    bool whole = (size_t)n >= head;
    c->talk->out_sent += whole ? head : (size_t)n;
    if (whole) conn_end_talk(c);
    return whole ? n - (ssize_t)head : 0;
}

/* What client:send gave is with the kernel. */
static void acknowledge(struct outlet *o) {
    uint32_t bytes = o->unacked;
    o->unacked = 0;
    to_app_sent(o->client, bytes);
}

static enum fan_sent outlet_send(struct stream *s, struct block *b) {
    struct outlet *o = container_of(s, struct outlet, stream);
    struct conn *c = conn_of(o);
    enum stream_end end = b->end;
    struct slice bytes = block_wire(b, o->stream.form);
    if (o->client) __builtin_prefetch(&o->client->events, 1); /* ready after the call */
    ssize_t n = c->doomed ? -1 : send_with_head(c, bytes);
    if (n < 0) {
        block_unref(b);
        conn_doom(c, END_GONE);
        return FAN_GONE;
    }
    if (o->client) client_count(o->client, b->events, b->n, s->resets);
    c->tx_ms = now_ms(c); /* or the stall begins */
    if ((size_t)n == bytes.n && conn_unsent(c) == 0) {
        if (o->unacked > 0 && s->note_bytes == 0) acknowledge(o);
        block_unref(b);
        if (end != STREAM_GOES_ON) {
            conn_finish(c);
            conn_go_on(c);
        }
        return FAN_SENT;
    }
    o->pinned = b;
    o->pinned_sent = (uint32_t)n;
    conn_watch(c);
    schedule(c);
    return FAN_BLOCKED;
}

/* From the socket on; the client follows while the call runs. */
static void outlet_expect(const struct stream *s) {
    const struct outlet *o = container_of(s, struct outlet, stream);
    const struct conn *c = container_of(o, struct conn, outlet);
    const char *end = (const char *)(c + 1);
    for (const char *line = (const char *)&c->io; line < end; line += POOL_LINE)
        __builtin_prefetch(line, 1);
}

/* Its head may be out, or go with what comes instead. */
static bool outlet_take_back(struct stream *s) {
    struct outlet *o = container_of(s, struct outlet, stream);
    if (!o->pinned || o->pinned_sent > 0) return false;
    block_unref(o->pinned);
    o->pinned = NULL;
    return true;
}

const struct fan_ops outlet_ops = {
    .send = outlet_send, .take_back = outlet_take_back, .expect = outlet_expect};

size_t outlet_unsent(const struct outlet *o) {
    size_t pinned =
        o->pinned ? block_wire(o->pinned, o->stream.form).n - o->pinned_sent : 0;
    return pinned + o->stream.note_bytes;
}

void outlet_writable(struct outlet *o) {
    struct conn *c = conn_of(o);
    struct block *b = o->pinned;
    if (!b) return;
    struct slice bytes = block_wire(b, o->stream.form);
    bytes = slice_of(bytes.p + o->pinned_sent, bytes.n - o->pinned_sent);
    size_t head_before = conn_unsent(c);
    ssize_t n = send_with_head(c, bytes);
    if (n < 0) {
        conn_doom(c, END_GONE);
        return;
    }
    size_t taken = (size_t)n + head_before - conn_unsent(c);
    if (taken > 0) c->tx_ms = now_ms(c);
    c->held += (uint32_t)taken;
    o->pinned_sent += (uint32_t)n;
    if ((size_t)n < bytes.n || conn_unsent(c) > 0) return;
    enum stream_end end = b->end;
    o->pinned = NULL;
    block_unref(b);
    if (o->unacked > 0 && o->stream.note_bytes == 0) acknowledge(o);
    conn_watch(c);
    schedule(c);
    if (end != STREAM_GOES_ON) conn_finish(c);
    else stream_writable(&o->stream);
}

/* ---- Opening ------------------------------------------------------------------------ */

static int write_head(struct conn *c, struct request *r) {
    struct worker *w = conn_worker(c);
    struct http_to to = request_to(r, &w->date, w->wall_s);
    /* A proxy would keep what ends clean for its next request, while we close it. node takes
     * this field for leave to break off, so who may be broken off is not told. */
    to.keep_alive = !c->outlet.stream.ends_clean;
    return http_write_stream(&c->talk->out, &to, (struct http_fields){0});
}

/* Queue the head. 0 or a negative code. */
static int outlet_init(struct conn *c, struct request *r) {
    struct worker *w = conn_worker(c);
    struct outlet *o = &c->outlet;
    stream_init(&o->stream, &w->fan, r->minor > 0 ? FORM_CHUNKED : FORM_HTTP10);
    /* So asks every EventSource, in browsers and outside: it comes back after any end, while
     * an abrupt one loses the last words in some and leaves others deaf. What reads a
     * stream without asking so takes a clean end for the end of all. */
    o->stream.ends_clean =
        http_field_has_token(request_fields(r), "cache-control", "no-cache");
    c->tx_ms = now_ms(c);
    o->opened_ms = w->now_ms;
    o->heartbeat_ms = (uint32_t)w->hub->options.heartbeat_ms;
    return write_head(c, r);
}

/* The socket belongs to the stream from now on. */
static void attach(struct conn *c) {
    c->streams = true;
    c->phase = CONN_STREAM;
    atomic_fetch_add_explicit(&conn_worker(c)->lane.counters.streams, 1,
                              memory_order_relaxed);
    conn_watch(c);
}

/* Returns the seconds to tell. Nobody beats together: each a little earlier. */
static double set_heartbeat(struct outlet *o, double seconds) {
    uint32_t ms = o->heartbeat_ms;
    if (seconds >= 0) ms = (uint32_t)(seconds * 1000);
    double told = (double)ms / 1000;
    if (ms > 0) ms -= rand_between(&conn_worker(conn_of(o))->random, 0, ms / 10 + 1);
    o->heartbeat_ms = ms;
    return told;
}

static int begin(struct outlet *o, struct request *r, struct plan *plan,
                 struct client *client, bool preamble_out) {
    double heartbeat = set_heartbeat(
        o, plan->options.heartbeat >= 0 ? plan->options.heartbeat : r->route->heartbeat);
    struct stream_opening opening = {.client = slice_str(client->id),
                                     .plan = {plan->specs, plan->n, plan->options},
                                     .last_id = r->last_id,
                                     .retry_ms = worker_retry(conn_worker(conn_of(o))),
                                     .heartbeat = heartbeat,
                                     .preamble_out = preamble_out};
    int err = stream_open(&o->stream, &opening);
    if (err < 0) return err;
    o->client = client_ref(client);
    client->outlet = o;
    to_app_opened(client, plan);
    return 0;
}

int outlet_open(struct conn *c, struct request *r, struct plan *plan,
                struct client *client) {
    struct outlet *o = &c->outlet;
    size_t before = c->talk->out.n;
    int err = outlet_init(c, r);
    if (err == 0 && plan) err = begin(o, r, plan, client, false);
    if (err == 0 && !plan)
        err = stream_preamble(&o->stream, worker_retry(conn_worker(c)));
    if (err < 0) {
        c->talk->out.n = before;
        stream_deinit(&o->stream);
        return err;
    }
    attach(c);
    schedule(c);
    return 0;
}

int outlet_plan(struct outlet *o, struct request *r, struct plan *plan,
                struct client *client) {
    int err = begin(o, r, plan, client, true);
    if (err == 0) schedule(conn_of(o));
    return err;
}

void outlet_break(struct conn *c) {
    stream_end(&c->outlet.stream, &(struct good_bye){.reason = END_SLOW, .breaks = true});
}

void outlet_refuse(struct conn *c, struct request *r, enum end_reason reason,
                   int status) {
    struct stream *s = &c->outlet.stream;
    if (!c->streams) {
        if (outlet_init(c, r) < 0 || stream_preamble(s, 0) < 0) {
            stream_deinit(s);
            conn_doom(c, END_OVERLOAD);
            return;
        }
        attach(c);
    }
    stream_end(s, &(struct good_bye){.reason = reason, .status = status});
}

/* ---- Heartbeats and drains ---------------------------------------------------------- */

static void beat(struct conn *c) {
    stream_beat(&c->outlet.stream);
    c->tx_ms = now_ms(c);
}

static void say_drain(struct conn *c) {
    c->outlet.bye_at_ms = 0;
    stream_bye(&c->outlet.stream, END_DRAIN);
}

void outlet_on_timer(struct outlet *o) {
    struct conn *c = conn_of(o);
    if (leaves_in(c) == 0) say_drain(c);
    if (o->pinned && output_is_stalled(c)) {
        conn_doom(c, END_SLOW);
        return;
    }
    if (!o->pinned && o->heartbeat_ms > 0 && quiet_ms(c) >= o->heartbeat_ms) beat(c);
    schedule(c);
}

void outlet_drain(struct outlet *o, int64_t window_ms) {
    struct conn *c = conn_of(o);
    uint32_t wait = 0;
    if (window_ms > 0)
        wait = rand_between(&conn_worker(c)->random, 0, (uint32_t)window_ms);
    o->bye_at_ms = (now_ms(c) + wait) | 1; /* never 0 */
    schedule(c);
}

/* ---- Ending ------------------------------------------------------------------------- */

static void log_end(struct outlet *o, enum end_reason reason) {
    if (!log_wants(LOG_INFO) || !o->client) return;
    char id[40];
    snprintf(id, sizeof id, "%s-%llu", o->stream.fan->epoch,
             (unsigned long long)o->stream.written);
    double seconds = (double)(conn_worker(conn_of(o))->now_ms - o->opened_ms) / 1000;
    struct log_field fields[] = {{.name = "path", .text = client_path(o->client)},
                                 {.name = "client", .text = o->client->id},
                                 {.name = "ip", .text = client_ip(o->client)},
                                 {.name = "reason", .text = reason_end(reason)->word},
                                 {.name = "seconds", .number = seconds},
                                 {.name = "events", .number = (double)o->client->events},
                                 {.name = "bytes", .number = (double)o->client->bytes},
                                 {.name = "last", .text = id}};
    log_write(LOG_INFO, "stream ended", fields, sizeof fields / sizeof *fields);
}

void outlet_close(struct outlet *o) {
    struct worker *w = conn_worker(conn_of(o));
    enum end_reason reason = o->stream.reason ? o->stream.reason : END_GONE;
    log_end(o, reason);
    atomic_fetch_sub_explicit(&w->lane.counters.streams, 1, memory_order_relaxed);
    if (o->pinned) block_unref(o->pinned);
    stream_deinit(&o->stream);
    if (!o->client) return;
    o->client->outlet = NULL;
    to_app_closed(o->client, reason);
    client_unref(o->client);
}
