/* Blocks to sockets; see outlet.h. */
#include "serve/io/outlet.h"

#include "base/clock.h"
#include "base/decimal.h"
#include "base/log.h"
#include "base/planted.h"
#include "base/pool.h"
#include "base/rand.h"
#include "base/status.h"
#include "fan/fan.h"
#include "fan/stream_open.h"
#include "serve/io/conn.h"
#include "serve/io/output.h"
#include "serve/io/due.h"
#include "serve/io/exchange.h"
#include "serve/io/poll.h"
#include "serve/io/feeding.h"
#include "serve/io/flight.h"
#include "serve/io/secure.h"
#include "serve/io/worker.h"
#include "serve/to_app.h"

#include <errno.h>

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

/* Until the time of its user is over. That is a time of people, whose clock may be set: it is
 * asked again with every heartbeat. */
static int64_t expires_in(const struct outlet *o) {
    if (o->expires == 0 || o->stream.ending) return INT64_MAX;
    double left = o->expires - clock_wall();
    if (left <= 0) return 0;
    return left < EXPIRES_LOOK_MS / 1000.0 ? (int64_t)(left * 1000) + 1 : EXPIRES_LOOK_MS;
}

/* When to look at it next: its heartbeat or, while its socket is full, its stall; its plan,
 * while that is late; and when it expires. */
void outlet_schedule(struct conn *c) {
    const struct outlet *o = &c->outlet;
    const struct worker *w = conn_worker(c);
    int64_t in = leaves_in(c), wait = INT64_MAX;
    if (c->polls) wait = poll_due_in(c);
    else if (o->pinned) wait = w->hub->options.stall_timeout_ms - quiet_ms(c);
    else if (o->heartbeat_ms > 0) wait = (int64_t)o->heartbeat_ms - quiet_ms(c);
    if (wait < in) in = wait;
    if (c->talk && c->talk->request) wait = due_reply_ms(c) - w->now_ms; /* the plan */
    if (wait < in) in = wait;
    wait = expires_in(o);
    if (wait < in) in = wait;
    if (in == INT64_MAX) wheel_cancel(&c->timer);
    else wheel_set(&conn_worker(c)->wheel, &c->timer, w->now_ms + in);
}

/* ---- Sending ------------------------------------------------------------------------ */

/* One call: what is left of the head, then the block. What the socket took of both, a
 * negative errno or SOCK_QUEUED. */
static ssize_t write_out(struct conn *c, struct slice block) {
    if (c->carried) return exchange_send(c, block);
    struct sock_write w = {.fd = c->io.fd, .body = block, .owner = c};
    w.head.n = conn_unsent(c);
    if (w.head.n > 0) w.head.p = c->talk->out.p + c->talk->out_sent;
    if (c->secure) return secure_send(c, w.head, w.body);
    return sock_write(&conn_worker(c)->socks, &w);
}

/* Of n bytes that were taken, those of the block; the others were the head's. */
static size_t behind_head(struct conn *c, size_t n) {
    size_t head = conn_unsent(c);
    if (head == 0) return n;
    c->talk->out_sent += n < head ? n : head;
    if (n < head) return 0;
    conn_end_talk(c);
    return n - head;
}

/* What client:send gave is with the kernel. */
void outlet_acknowledge(struct outlet *o) {
    uint32_t bytes = o->unacked;
    o->unacked = 0;
    if (bytes > 0) to_app_sent(o->client, bytes);
}

/* The last block is out. */
static void end(struct conn *c) {
    conn_finish(c);
    conn_go_on(c);
}

/* The rest of it waits until the socket takes more. */
static void wait_for_room(struct conn *c, struct block *b, size_t sent) {
    c->outlet.pinned = b;
    c->outlet.pinned_sent = (uint32_t)sent;
    conn_watch(c);
    outlet_schedule(c);
}

/* So many bytes of head and block were taken of a block that was just gathered (takes it). */
static enum fan_sent took_first(struct conn *c, struct block *b, size_t size, size_t n) {
    struct outlet *o = &c->outlet;
    n = behind_head(c, n);
    if (n < size || conn_unsent(c) > 0) {
        wait_for_room(c, b, n);
        return FAN_BLOCKED;
    }
    if (o->unacked > 0 && o->stream.note_bytes == 0) outlet_acknowledge(o);
    bool over = b->end != STREAM_GOES_ON;
    block_unref(b);
    if (over) end(c);
    return FAN_SENT;
}

static enum fan_sent outlet_send(struct stream *s, struct block *b) {
    struct outlet *o = container_of(s, struct outlet, stream);
    struct conn *c = conn_of(o);
    if (c->polls) return poll_send(c, b);
    if (conn_feeding(c)) return feeding_send(c, b);
    struct slice bytes = block_wire(b, o->stream.form);
    if (o->client) __builtin_prefetch(&o->client->events, 1); /* ready after the call */
    ssize_t n = c->doomed ? -EPIPE : write_out(c, bytes);
    if (n < 0 && n != SOCK_QUEUED) {
        block_unref(b);
        conn_doom(c, END_GONE);
        return FAN_GONE;
    }
    if (o->client) client_count(o->client, b->events, b->n, s->resets);
    c->tx_ms = now_ms(c); /* or the stall begins */
    if (n != SOCK_QUEUED) return took_first(c, b, bytes.n, (size_t)n);
    o->pinned = b;
    o->pinned_sent = 0;
    c->queued = true;
    if (PLANTED(403)) block_unref(b);
    return FAN_QUEUED;
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
    if (conn_of(o)->polls) return poll_take_back(conn_of(o));
    if (!o->pinned || o->pinned_sent > 0 || conn_of(o)->queued) return false;
    if (conn_of(o)->secure) return false; /* its record is made */
    block_unref(o->pinned);
    o->pinned = NULL;
    return true;
}

static void outlet_lost(struct stream *s, const struct loss *loss) {
    flight_lost(container_of(s, struct outlet, stream), loss);
}

const struct fan_ops outlet_ops = {.send = outlet_send,
                                   .take_back = outlet_take_back,
                                   .lost = outlet_lost,
                                   .expect = outlet_expect};

struct slice outlet_rest(const struct outlet *o) {
    if (!o->pinned) return slice_of(NULL, 0);
    struct slice bytes = block_wire(o->pinned, o->stream.form);
    return slice_of(bytes.p + o->pinned_sent, bytes.n - o->pinned_sent);
}

size_t outlet_unsent(const struct outlet *o) {
    return outlet_rest(o).n + o->stream.note_bytes;
}

/* So many bytes were taken of what the socket had left. */
static void took_rest(struct conn *c, size_t n) {
    struct outlet *o = &c->outlet;
    size_t size = outlet_rest(o).n;
    if (n > 0) c->tx_ms = now_ms(c);
    c->held += (uint32_t)n;
    n = behind_head(c, n);
    o->pinned_sent += (uint32_t)n;
    if (n < size || conn_unsent(c) > 0) return;
    bool over = o->pinned->end != STREAM_GOES_ON;
    block_unref(o->pinned);
    o->pinned = NULL;
    if (o->unacked > 0 && o->stream.note_bytes == 0) outlet_acknowledge(o);
    conn_watch(c);
    outlet_schedule(c);
    if (over) conn_finish(c);
    else stream_writable(&o->stream);
}

void outlet_writable(struct outlet *o) {
    ASSERT_OWNER(o->stream.fan->loop);
    struct conn *c = conn_of(o);
    if (!o->pinned || c->queued) return;
    ssize_t n = write_out(c, outlet_rest(o));
    if (n == SOCK_QUEUED) {
        c->queued = true;
        conn_watch(c);
    } else if (n < 0) {
        conn_doom(c, END_GONE);
    } else {
        took_rest(c, (size_t)n);
    }
}

/* A stream that waits in the fan had its block refused in part before. */
void outlet_on_result(struct outlet *o, ssize_t n) {
    ASSERT_OWNER(o->stream.fan->loop);
    struct conn *c = conn_of(o);
    struct stream *s = &o->stream;
    bool first = list_empty(&s->ready);
    c->queued = false;
    if (PLANTED(402) && n > 0 && first) n = (ssize_t)block_wire(o->pinned, s->form).n;
    if (n < 0 || c->doomed) {
        conn_doom(c, END_GONE);
        if (first) fan_on_result(s, FAN_GONE, false);
        return;
    }
    if (first) {
        struct block *b = o->pinned;
        bool over = b->end != STREAM_GOES_ON;
        o->pinned = NULL;
        fan_on_result(s, took_first(c, b, block_wire(b, s->form).n, (size_t)n), over);
    } else {
        took_rest(c, (size_t)n);
        conn_watch(c);
    }
    if (c->phase != CONN_STREAM) conn_go_on(c);
}

/* ---- Opening ------------------------------------------------------------------------ */

static int write_head(struct conn *c, struct request *r, const struct plan *plan) {
    struct worker *w = conn_worker(c);
    struct http_to to = request_to(r, &w->date, w->wall_s);
    /* A proxy would keep what ends clean for its next request, while we close it. node takes
     * this field for leave to break off, so it is left out where a break may follow. */
    to.keep_alive = !c->outlet.stream.ends_clean;
    enum form_id form = c->outlet.stream.form;
    struct http_field fields[FEEDING_FIELDS_MAX];
    struct buf *out = &c->talk->out;
    size_t n = request_form_fields(r, form, fields);
    if (plan && plan->options.feed.kind) n += feeding_stream_fields(r, plan, fields + n);
    int err = http_write_stream(out, &to, (struct http_fields){fields, n});
    struct slice begin = form_of(form)->begin;
    return err < 0 || begin.n == 0 ? err : buf_add(out, begin.p, begin.n);
}

/* Queue the head. What comes without its plan, because that is late or refused, is not compressed.
 * 0 or a negative code. */
static int outlet_init(struct conn *c, struct request *r, const struct plan *plan) {
    struct worker *w = conn_worker(c);
    struct outlet *o = &c->outlet;
    enum form_id form = plan ? request_form(r) : request_plain_form(r);
    stream_init(&o->stream, &w->fan, form);
    o->stream.pads = r->pads;
    /* So asks every EventSource, in browsers and outside: it comes back after any end, while
     * an abrupt one loses the last words in some and leaves others deaf. What reads a
     * stream without asking so takes a clean end for the end of all. */
    o->stream.ends_clean =
        r->route->kind == ROUTE_FEED ||
        http_field_has_token(request_fields(r), "cache-control", "no-cache");
    c->tx_ms = now_ms(c);
    o->opened_ms = w->now_ms;
    o->heartbeat_ms = (uint32_t)w->hub->options.heartbeat_ms;
    return write_head(c, r, plan);
}

/* The socket belongs to the stream from now on. */
static void attach(struct conn *c) {
    c->streams = true;
    c->phase = CONN_STREAM;
    atomic_fetch_add_explicit(&conn_worker(c)->lane.counters.streams, 1,
                              memory_order_relaxed);
    conn_watch(c);
}

/* Returns the seconds for hello. Each is a little earlier, so that streams do not
 * send theirs at the same time. */
static double set_heartbeat(struct outlet *o, double seconds) {
    uint32_t ms = o->heartbeat_ms;
    if (seconds >= 0) ms = (uint32_t)(seconds * 1000);
    double sent = (double)ms / 1000;
    if (ms > 0) ms -= rand_between(&conn_worker(conn_of(o))->random, 0, ms / 10 + 1);
    o->heartbeat_ms = ms;
    return sent;
}

#define SHARE_MAX (16 + 1 + 16)

/* Marks of a user and a plan: streams with equal ones are told the same. */
static struct slice share_of(const struct client *client, const struct plan_spec *plan,
                             char room[SHARE_MAX]) {
    const char *name = client_user(client);
    char *end = room + SHARE_MAX, *at = hex_before(end, plan_mark(plan));
    *--at = '.';
    at = hex_before(at, name ? map_mark(1, slice_str(name)) : 0);
    return slice_of(at, (size_t)(end - at));
}

int outlet_begin(struct outlet *o, struct request *r, struct plan *plan,
                 struct client *client, bool preamble_out) {
    double wanted =
        plan->options.heartbeat >= 0 ? plan->options.heartbeat : r->route->heartbeat;
    double heartbeat = conn_of(o)->polls ? 0 : set_heartbeat(o, wanted);
    struct plan_spec spec = {plan->specs, plan->n, plan->options};
    bool is_new = !o->client; /* else it begins anew */
    char room[SHARE_MAX];
    struct stream_opening opening = {.client = slice_str(client->id),
                                     .plan = spec,
                                     .share = share_of(client, &spec, room),
                                     .last_id = r->last_id,
                                     .retry_ms = worker_retry(conn_worker(conn_of(o))),
                                     .heartbeat = heartbeat,
                                     .preamble_out = preamble_out};
    struct feed_ask ask;
    if (plan->options.feed.kind) {
        feeding_read_ask(r, &ask);
        opening.last_id = ask.from;
        opening.ask = &ask;
        opening.feed_plan = plan;
    }
    if (is_new) o->client = client_ref(client); /* what it loses at once is its loss */
    int err = stream_open(&o->stream, &opening);
    if (err < 0 && is_new) {
        client_unref(o->client);
        o->client = NULL;
    }
    if (err < 0) return err;
    o->expires = plan->options.expires;
    client->outlet = o;
    if (!is_new) return 0;
    flight_opened(conn_worker(conn_of(o)), r, plan, client);
    to_app_opened(client, plan);
    return 0;
}

int outlet_open(struct conn *c, struct request *r, struct plan *plan,
                struct client *client) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    struct outlet *o = &c->outlet;
    size_t before = c->talk->out.n;
    int err = outlet_init(c, r, plan);
    if (err == 0 && plan) err = outlet_begin(o, r, plan, client, false);
    if (err == 0 && !plan)
        err = stream_preamble(&o->stream, worker_retry(conn_worker(c)));
    if (err < 0) {
        c->talk->out.n = before;
        stream_deinit(&o->stream);
        return err;
    }
    attach(c);
    outlet_schedule(c);
    return 0;
}

int outlet_plan(struct outlet *o, struct request *r, struct plan *plan,
                struct client *client) {
    ASSERT_OWNER(o->stream.fan->loop);
    int err = outlet_begin(o, r, plan, client, true);
    if (err == 0) outlet_schedule(conn_of(o));
    return err;
}

void outlet_break(struct conn *c) {
    stream_break(&c->outlet.stream, END_SLOW, BY_LOSS);
}

void outlet_refuse(struct conn *c, struct request *r, const struct bye *bye) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    struct stream *s = &c->outlet.stream;
    if (!c->streams) {
        if (outlet_init(c, r, NULL) < 0 || stream_preamble(s, 0) < 0) {
            stream_deinit(s);
            conn_doom(c, END_OVERLOAD);
            return;
        }
        attach(c);
    }
    stream_end(s, bye);
}

/* ---- Heartbeats and drains ---------------------------------------------------------- */

static void beat(struct conn *c) {
    stream_beat(&c->outlet.stream);
    c->tx_ms = now_ms(c);
}

/* Whether what was sent a heartbeat ago has not arrived yet: the network is gone, which
 * TCP itself would take longer to say. A client with no room for more acknowledges that.
 * While events are sent, what is owed may be young: then the heartbeat before counts. */
static bool is_cut_off(const struct conn *c) {
    uint32_t heartbeat = c->outlet.heartbeat_ms;
    uint32_t limit = heartbeat > SILENT_MS_LEAST ? heartbeat : SILENT_MS_LEAST;
    if (quiet_ms(c) < heartbeat) limit *= 2;
    return sock_silent_ms(conn_fd(c)) >= limit;
}

static void say_drain(struct conn *c) {
    c->outlet.bye_at_ms = 0;
    stream_bye(&c->outlet.stream, END_DRAIN);
}

void outlet_on_timer(struct outlet *o) {
    ASSERT_OWNER(o->stream.fan->loop);
    struct conn *c = conn_of(o);
    if (expires_in(o) == 0) stream_bye(&o->stream, END_EXPIRED);
    if (leaves_in(c) == 0) say_drain(c);
    if (o->pinned && output_is_stalled(c)) {
        conn_doom_by(c, END_SLOW, BY_STALL);
        return;
    }
    if (c->polls) {
        poll_on_timer(c);
        if (!c->doomed) outlet_schedule(c);
        return;
    }
    if (!o->pinned && o->heartbeat_ms > 0) {
        if (is_cut_off(c)) {
            conn_doom_by(c, END_GONE, BY_SILENCE);
            return;
        }
        if (quiet_ms(c) >= o->heartbeat_ms) beat(c);
    }
    outlet_schedule(c);
}

void outlet_drain(struct outlet *o, int64_t window_ms) {
    ASSERT_OWNER(o->stream.fan->loop);
    struct conn *c = conn_of(o);
    uint32_t wait = 0;
    if (window_ms > 0)
        wait = rand_between(&conn_worker(c)->random, 0, (uint32_t)window_ms);
    o->bye_at_ms = (now_ms(c) + wait) | 1; /* never 0 */
    outlet_schedule(c);
}

/* ---- Ending ------------------------------------------------------------------------- */

void outlet_on_end(struct outlet *o) {
    if (conn_of(o)->polls) poll_on_end(conn_of(o));
}

void outlet_on_deny(struct outlet *o) {
    if (conn_of(o)->polls) poll_on_deny(conn_of(o));
}

/* In the log and, with its cause, for who asks why. */
static void report_end(struct outlet *o, enum end_reason reason, enum end_cause cause) {
    if (!o->client) return;
    struct worker *w = conn_worker(conn_of(o));
    char id[EVENTID_TEXT_MAX];
    size_t id_n = eventid_text(id, o->stream.fan->epoch, o->stream.written);
    double seconds = (double)(w->now_ms - o->opened_ms) / 1000;
    struct log_field fields[] = {{.name = "path", .text = client_path(o->client)},
                                 {.name = "client", .text = o->client->id},
                                 {.name = "ip", .text = client_ip(o->client)},
                                 {.name = "reason", .text = reason_end(reason)->word},
                                 {.name = "seconds", .number = seconds},
                                 {.name = "events", .number = (double)o->client->events},
                                 {.name = "bytes", .number = (double)o->client->bytes},
                                 {.name = "last", .text = id, .text_n = id_n},
                                 {.name = "cause", .text = reason_cause(cause)},
                                 {.name = "user", .text = client_user(o->client)}};
    size_t n = sizeof fields / sizeof *fields, for_log = n - 2;
    if (log_wants(LOG_INFO)) log_write(LOG_INFO, "stream ended", fields, for_log);
    flight_ended(w, fields, client_user(o->client) ? n : n - 1, cause);
}

void outlet_close(struct outlet *o) {
    ASSERT_OWNER(o->stream.fan->loop);
    struct worker *w = conn_worker(conn_of(o));
    enum end_reason reason = o->stream.reason ? o->stream.reason : END_GONE;
    report_end(o, reason, o->stream.cause ? o->stream.cause : BY_NETWORK);
    if (o->pinned) block_unref(o->pinned);
    stream_deinit(&o->stream);
    if (o->client) {
        o->client->outlet = NULL;
        to_app_closed(o->client, reason);
    }
    client_unref(o->client);
    o->client = NULL;
    atomic_fetch_sub_explicit(&w->lane.counters.streams, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->lane.counters.ended[reason], 1, memory_order_relaxed);
}
