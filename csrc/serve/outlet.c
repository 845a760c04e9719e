/* Blocks to sockets; see outlet.h. */
#include "serve/outlet.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/status.h"
#include "serve/conn.h"
#include "serve/server.h"
#include "serve/worker.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* ---- Time --------------------------------------------------------------------------- */

/* When to look at it next: its heartbeat or, while its socket is full, its stall. */
static void schedule(struct outlet *o) {
    struct conn *c = o->conn;
    if (c->request && c->phase == CONN_STREAM && !o->client) { /* the plan is awaited */
        wheel_set(&c->worker->wheel, &c->timer, c->worker->now_ms + 1000);
        return;
    }
    int64_t at = o->last_tx_ms + c->worker->server->options.stall_timeout_ms;
    int64_t beat = o->last_tx_ms + o->heartbeat_ms;
    if (!o->pinned && o->heartbeat_ms > 0) at = beat;
    else if (!o->pinned) at = INT64_MAX;
    if (o->bye_at_ms && o->bye_at_ms < at) at = o->bye_at_ms;
    if (at == INT64_MAX) wheel_cancel(&c->timer);
    else wheel_set(&c->worker->wheel, &c->timer, at);
}

/* ---- Sending ------------------------------------------------------------------------ */

/* What of a block goes on the wire: with its chunk head (less leading zeros) and tail,
 * or the events alone for HTTP/1.0. */
static struct slice wire(const struct outlet *o, struct block *b) {
    if (!o->chunked || b->n == 0) return slice_of(block_bytes(b), b->n);
    char *start = b->room;
    while (*start == '0') start++;
    return slice_of(start, (size_t)(block_bytes(b) + b->n + BLOCK_TAIL - start));
}

/* One call: what is left of the head, then the block. Returns the bytes of the block
 * that were taken, or -1 when the socket is broken. */
static ssize_t send_with_head(struct conn *c, struct slice block) {
    size_t head = c->out.n - c->out_sent;
    if (head == 0 && block.n == 0) return 0;
    struct iovec parts[2] = {{c->out.p + c->out_sent, head}, {(char *)block.p, block.n}};
    struct msghdr message = {.msg_iov = head ? parts : parts + 1,
                             .msg_iovlen = head ? 2 : 1};
    ssize_t n = head ? sendmsg(c->io.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT)
                     : send(c->io.fd, block.p, block.n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return 0;
    if (n < 0) return -1;
    if ((size_t)n < head) {
        c->out_sent += (size_t)n;
        return 0;
    }
    if (head) buf_free(&c->out);
    c->out_sent = 0;
    return n - (ssize_t)head;
}

/* The last block is out: a clean end says so to the client, a drop does not. */
static void end_stream(struct outlet *o, enum stream_end end) {
    struct conn *c = o->conn;
    o->over = true;
    if (end == STREAM_STOPS && o->chunked && buf_adds(&c->out, "0\r\n\r\n") < 0)
        conn_doom(c, "memory");
    conn_finish(c);
}

static enum fan_sent outlet_send(struct stream *s, struct block *b) {
    struct outlet *o = container_of(s, struct outlet, stream);
    struct conn *c = o->conn;
    enum stream_end end = b->end;
    struct slice bytes = wire(o, b);
    ssize_t n = c->doomed ? -1 : send_with_head(c, bytes);
    if (n < 0) {
        block_unref(b);
        conn_doom(c, "gone");
        return FAN_GONE;
    }
    o->events += b->events;
    o->bytes += b->n;
    if (n > 0 || bytes.n == 0) o->last_tx_ms = c->worker->now_ms;
    if ((size_t)n == bytes.n && c->out.n == c->out_sent) {
        if (s->note_bytes == 0 && o->client) /* what the app sent is with the kernel */
            server_on_sent(o->client);
        block_unref(b);
        if (end != STREAM_GOES_ON) end_stream(o, end);
        return FAN_SENT;
    }
    o->pinned = b;
    o->pinned_sent = (uint32_t)n;
    o->last_tx_ms = c->worker->now_ms; /* the stall begins */
    conn_watch(c, EV_READ | EV_WRITE);
    schedule(o);
    return FAN_BLOCKED;
}

const struct fan_ops outlet_ops = {.send = outlet_send};

void outlet_writable(struct outlet *o) {
    struct conn *c = o->conn;
    struct block *b = o->pinned;
    if (!b) return;
    struct slice bytes = wire(o, b);
    bytes = slice_of(bytes.p + o->pinned_sent, bytes.n - o->pinned_sent);
    size_t head_before = c->out.n - c->out_sent;
    ssize_t n = send_with_head(c, bytes);
    if (n < 0) {
        conn_doom(c, "gone");
        return;
    }
    if (n > 0 || c->out.n - c->out_sent < head_before) o->last_tx_ms = c->worker->now_ms;
    o->pinned_sent += (uint32_t)n;
    if ((size_t)n < bytes.n || c->out.n > c->out_sent) return;
    enum stream_end end = b->end;
    o->pinned = NULL;
    block_unref(b);
    if (o->stream.note_bytes == 0 && o->client) server_on_sent(o->client);
    conn_watch(c, EV_READ);
    schedule(o);
    if (end != STREAM_GOES_ON) end_stream(o, end);
    else fan_writable(o->stream.fan, &o->stream);
}

/* ---- Opening ------------------------------------------------------------------------ */

static int write_head(struct conn *c, struct request *r) {
    struct worker *w = c->worker;
    struct http_field fields[ORIGIN_FIELDS_MAX] = {0};
    size_t n = request_cors(r, fields);
    struct http_to to = {.date = &w->date,
                         .now = w->wall_s,
                         .minor = r->minor,
                         .keep_alive = true,
                         .is_head = r->is_head};
    return http_write_stream(&c->out, &to, (struct http_fields){fields, n});
}

static struct outlet *outlet_new(struct conn *c, struct request *r) {
    struct worker *w = c->worker;
    struct outlet *o = mem_new(sizeof *o);
    stream_init(&o->stream, &w->fan);
    o->conn = c;
    o->chunked = r->minor > 0;
    o->last_tx_ms = o->opened_ms = w->now_ms;
    o->heartbeat_ms = w->server->options.heartbeat_ms;
    return o;
}

/* The socket belongs to the stream from now on. */
static void attach(struct conn *c, struct outlet *o) {
    c->outlet = o;
    c->phase = CONN_STREAM;
    atomic_fetch_add_explicit(&c->worker->counters.streams, 1, memory_order_relaxed);
    conn_watch(c, EV_READ);
}

/* Returns the seconds to tell. Nobody beats together: each a little earlier. */
static double set_heartbeat(struct outlet *o, double seconds) {
    if (seconds >= 0) o->heartbeat_ms = (int64_t)(seconds * 1000);
    double told = (double)o->heartbeat_ms / 1000;
    uint32_t part = (uint32_t)o->heartbeat_ms / 10 + 1;
    if (o->heartbeat_ms > 0)
        o->heartbeat_ms -= rand_between(&o->conn->worker->random, 0, part);
    return told;
}

static int begin(struct outlet *o, struct request *r, struct plan *plan,
                 struct client *client, bool preamble_out) {
    double heartbeat =
        set_heartbeat(o, plan->heartbeat >= 0 ? plan->heartbeat : r->route->heartbeat);
    struct stream_opening opening = {.client = slice_str(client->id),
                                     .specs = plan->specs,
                                     .n = plan->n,
                                     .last_id = r->last_id,
                                     .retry_ms = worker_retry(o->conn->worker),
                                     .heartbeat = heartbeat,
                                     .preamble_out = preamble_out};
    int err = stream_open(&o->stream, &opening);
    if (err < 0) return err;
    o->client = client_ref(client);
    client->outlet = o;
    client->plan = plan_ref(plan);
    server_on_opened(client);
    return 0;
}

int outlet_open(struct conn *c, struct request *r, struct plan *plan,
                struct client *client) {
    struct outlet *o = outlet_new(c, r);
    size_t before = c->out.n;
    int err = write_head(c, r);
    if (err == 0 && plan) err = begin(o, r, plan, client, false);
    if (err == 0 && !plan) {
        char text[48];
        int n = snprintf(text, sizeof text, ":ok\nretry: %u\n", worker_retry(c->worker));
        err = stream_note(&o->stream, slice_of(text, (size_t)n), 0, STREAM_GOES_ON);
        if (err == 0) fan_wake(&c->worker->fan, &o->stream);
    }
    if (err < 0) {
        c->out.n = before;
        stream_deinit(&o->stream);
        mem_free(o);
        return err;
    }
    attach(c, o);
    schedule(o);
    return 0;
}

int outlet_plan(struct outlet *o, struct request *r, struct plan *plan,
                struct client *client) {
    int err = begin(o, r, plan, client, true);
    if (err == 0) schedule(o);
    return err;
}

void outlet_refuse(struct conn *c, struct request *r, const char *reason,
                   uint32_t retry_ms) {
    if (!c->outlet) {
        struct outlet *o = outlet_new(c, r);
        if (write_head(c, r) < 0 ||
            stream_note(&o->stream, slice_str(":ok\n"), 0, 0) < 0) {
            stream_deinit(&o->stream);
            mem_free(o);
            conn_doom(c, "memory");
            return;
        }
        attach(c, o);
    }
    stream_bye(&c->outlet->stream, reason, retry_ms);
}

/* ---- Heartbeats and drains ---------------------------------------------------------- */

void outlet_on_timer(struct outlet *o) {
    struct conn *c = o->conn;
    struct worker *w = c->worker;
    if (o->over) return;
    if (o->bye_at_ms && w->now_ms >= o->bye_at_ms) {
        o->bye_at_ms = 0;
        int64_t high =
            w->server->options.drain_ms > 2000 ? w->server->options.drain_ms : 2000;
        stream_bye(&o->stream, "drain", rand_between(&w->random, 500, (uint32_t)high));
    }
    if (o->pinned) {
        if (w->now_ms - o->last_tx_ms >= w->server->options.stall_timeout_ms) {
            conn_doom(c, "slow");
            return;
        }
    } else if (o->heartbeat_ms > 0 && w->now_ms - o->last_tx_ms >= o->heartbeat_ms) {
        if (stream_wants_sync(&o->stream, w->now_ms)) stream_sync(&o->stream);
        else if (stream_note(&o->stream, slice_str(":\n"), 0, STREAM_GOES_ON) == 0)
            fan_wake(o->stream.fan, &o->stream);
        o->last_tx_ms = w->now_ms;
    }
    schedule(o);
}

void outlet_drain(struct outlet *o, int64_t window_ms) {
    struct worker *w = o->conn->worker;
    uint32_t wait = window_ms > 0 ? rand_between(&w->random, 0, (uint32_t)window_ms) : 0;
    o->bye_at_ms = w->now_ms + wait;
    schedule(o);
}

/* ---- Ending ------------------------------------------------------------------------- */

static void log_end(const struct outlet *o, const char *reason) {
    if (!log_wants(LOG_INFO) || !o->client) return;
    char id[40];
    snprintf(id, sizeof id, "%s-%llu", o->stream.fan->epoch,
             (unsigned long long)o->stream.written);
    double seconds = (double)(o->conn->worker->now_ms - o->opened_ms) / 1000;
    struct log_field fields[] = {{.name = "path", .text = client_path(o->client)},
                                 {.name = "client", .text = o->client->id},
                                 {.name = "ip", .text = client_ip(o->client)},
                                 {.name = "reason", .text = reason},
                                 {.name = "seconds", .number = seconds},
                                 {.name = "events", .number = (double)o->events},
                                 {.name = "bytes", .number = (double)o->bytes},
                                 {.name = "last", .text = id}};
    log_write(LOG_INFO, "stream ended", fields, sizeof fields / sizeof *fields);
}

void outlet_free(struct outlet *o, const char *reason) {
    log_end(o, reason);
    struct worker *w = o->conn->worker;
    atomic_fetch_sub_explicit(&w->counters.streams, 1, memory_order_relaxed);
    if (o->pinned) block_unref(o->pinned);
    stream_deinit(&o->stream);
    o->conn->outlet = NULL;
    if (o->client) {
        o->client->outlet = NULL;
        server_on_closed(o->client, reason);
        client_unref(o->client);
    }
    mem_free(o);
}
