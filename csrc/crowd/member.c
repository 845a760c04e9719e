/* Connect, send the request, read the head, count the events of the body; see member.h.
 *
 * How it ends decides which count grows: failed before an answer, refused by an answer that is no
 * stream, ended by the server in order, broken off otherwise. */
#include "crowd/member.h"

#include "base/clock.h"
#include "net/http_bytes.h"
#include "net/http_field.h"
#include "net/sock.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#define FIELDS_MAX 100

void member_close(struct member *r) {
    struct crowd *crowd = r->crowd;
    if (r->state == MEMBER_IDLE) return;
    if (r->state == MEMBER_OPEN) crowd->order.open = --crowd->counts.open;
    else crowd->counts.waiting--;
    if (r->state == MEMBER_CONNECTING || r->state == MEMBER_HANDSHAKE) crowd->under_way--;
    ev_io_stop(crowd->loop->ev, &r->io);
    tls_free(r->tls);
    r->tls = NULL;
    if (r->fd >= 0) close(r->fd);
    buf_free(&r->head);
    event_deinit(&r->event);
    r->fd = -1;
    r->state = MEMBER_IDLE;
    crowd_go_on(crowd);
}

/* Over before its answer was there. */
static void fail(struct member *r, int error) {
    r->crowd->counts.failed++;
    r->crowd->counts.error = error;
    member_close(r);
}

static void refuse(struct member *r, int status) {
    r->crowd->counts.refused++;
    r->crowd->counts.status = status;
    member_close(r);
}

/* Over: 'result' is 0 (the server closed) or what was wrong. A body without chunks ends so in
 * order, one with them by its last chunk only. */
static void end(struct member *r, ssize_t result) {
    if (r->state != MEMBER_OPEN) {
        fail(r, result < 0 ? (int)-result : ECONNRESET);
        return;
    }
    bool in_order = r->is_chunked ? r->chunks.done : result == 0;
    if (in_order) r->crowd->counts.ended++;
    else r->crowd->counts.broken++;
    member_close(r);
}

/* ---- Events --------------------------------------------------------------------------- */

/* One of our own: their numbers have no gaps. */
static void take_own(struct member *r, uint64_t n) {
    struct crowd_counts *counts = &r->crowd->counts;
    int64_t ahead = place_take(&r->own, n);
    counts->own++;
    if (ahead > 0) {
        counts->lost += (uint64_t)ahead - 1;
    } else if (ahead == 0) {
        counts->lost -= counts->lost > 0;
        counts->disordered++;
    } else {
        counts->repeated++;
    }
}

static void take_id(struct member *r, uint64_t hash) {
    struct order *order = &r->crowd->order;
    uint64_t number = order_of(order, hash, r->ids.last);
    int64_t ahead = place_take(&r->ids, number);
    if (ahead >= 0) order_got(order, number);
    r->crowd->counts.disordered += ahead == 0;
    r->crowd->counts.repeated += ahead < 0;
}

static void count_reason(struct crowd_counts *counts, const char *word) {
    for (int i = 0; i < CROWD_REASONS_MAX; i++) {
        struct crowd_reason *row = &counts->reasons[i];
        if (row->n == 0) memcpy(row->word, word, sizeof row->word);
        if (strcmp(row->word, word) != 0) continue;
        row->n++;
        return;
    }
}

static void on_control(struct crowd_counts *counts, const struct event_state *e) {
    enum event_kind kind = e->kind;
    if (kind == EVENT_BYE && e->reason[0]) count_reason(counts, e->reason);
    counts->hellos += kind == EVENT_HELLO;
    counts->resets += kind == EVENT_RESET;
    counts->byes += kind == EVENT_BYE;
}

static void on_event(void *context, const struct event_state *e) {
    struct member *r = context;
    struct crowd *crowd = r->crowd;
    struct crowd_counts *counts = &crowd->counts;
    if (e->is_sluice && e->kind != EVENT_OTHER) {
        on_control(counts, e);
        return;
    }
    counts->events++;
    if (e->is_own) take_own(r, e->n);
    else if (e->has_id) take_id(r, e->id_hash);
    if (e->time_us == 0) return;
    int64_t now = e->time_is_wall ? (int64_t)(clock_wall() * 1e6) : clock_us();
    hist_add(&counts->latency, now > e->time_us ? (uint64_t)(now - e->time_us) : 0);
}

/* ---- The body ------------------------------------------------------------------------- */

static int feed(struct member *r, struct slice bytes) {
    return event_feed(&r->event, &r->crowd->words, bytes, on_event, r);
}

/* 1: the body goes on; else it is over, or broken. */
static int take_chunks(struct member *r, struct slice bytes) {
    while (bytes.n > 0) {
        struct slice data;
        int used = http_chunks_next(&r->chunks, bytes.p, bytes.n, &data);
        if (used < 0) return -EPROTO;
        if (data.n > 0 && feed(r, data) < 0) return -EPROTO;
        if (r->chunks.done) return 0;
        bytes = slice_of(bytes.p + used, bytes.n - (size_t)used);
    }
    return 1;
}

static void take_body(struct member *r, struct slice bytes) {
    int more = 1;
    if (r->is_chunked) more = take_chunks(r, bytes);
    else if (feed(r, bytes) < 0) more = -EPROTO;
    if (more <= 0) end(r, more);
}

/* ---- The head ------------------------------------------------------------------------- */

/* The status, or -1: this is no HTTP/1. */
static int status_of(struct slice head) {
    if (head.n < 12 || memcmp(head.p, "HTTP/1.", 7) != 0 || head.p[8] != ' ') return -1;
    int status = 0;
    for (size_t i = 9; i < 12; i++) {
        if (head.p[i] < '0' || head.p[i] > '9') return -1;
        status = status * 10 + (head.p[i] - '0');
    }
    return status;
}

/* The lines between the first one and the empty one. */
static struct http_fields fields_of(struct slice head, struct http_field *into) {
    struct http_fields all = {into, 0};
    const char *end = head.p + head.n, *p = memchr(head.p, '\n', head.n);
    for (p++; p < end && all.n < FIELDS_MAX;) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        if (!lf) break;
        const char *colon = memchr(p, ':', (size_t)(lf - p));
        if (colon) {
            struct slice value = slice_of(colon + 1, (size_t)(lf - colon - 1));
            if (value.n > 0 && value.p[value.n - 1] == '\r') value.n--;
            into[all.n].name = slice_of(p, (size_t)(colon - p));
            into[all.n++].value = http_trim(value);
        }
        p = lf + 1;
    }
    return all;
}

static void begin_stream(struct member *r, struct slice head) {
    struct http_field lines[FIELDS_MAX];
    struct crowd *crowd = r->crowd;
    int status = status_of(head);
    if (status < 0) {
        fail(r, EPROTO);
        return;
    }
    struct http_fields all = fields_of(head, lines);
    struct slice type = http_media_type(http_field_value(all, "content-type"));
    if (status != 200 || !type.p || !http_is(type, "text/event-stream")) {
        refuse(r, status);
        return;
    }
    r->is_chunked = http_field_has_token(all, "transfer-encoding", "chunked");
    http_chunks_init(&r->chunks, UINT64_MAX);
    r->state = MEMBER_OPEN;
    crowd->counts.waiting--;
    crowd->order.open = ++crowd->counts.open;
    hist_add(&crowd->counts.head, (uint64_t)(clock_us() - r->began_us));
}

static void take_head(struct member *r, struct slice bytes) {
    if (r->head.n + bytes.n > CROWD_HEAD_MAX + CROWD_READ_BYTES ||
        buf_add(&r->head, bytes.p, bytes.n) < 0) {
        fail(r, EPROTO);
        return;
    }
    const char *end = memmem(r->head.p, r->head.n, "\r\n\r\n", 4);
    if (!end) {
        if (r->head.n > CROWD_HEAD_MAX) fail(r, EPROTO);
        return;
    }
    size_t n = (size_t)(end - r->head.p) + 4;
    struct buf all = r->head; /* what follows the head belongs to the body */
    r->head = (struct buf){0};
    begin_stream(r, slice_of(all.p, n));
    if (r->state == MEMBER_OPEN && all.n > n)
        take_body(r, slice_of(all.p + n, all.n - n));
    buf_free(&all);
}

/* ---- The connection ------------------------------------------------------------------- */

static void watch(struct member *r, int events) {
    struct ev_loop *ev = r->crowd->loop->ev;
    ev_io_stop(ev, &r->io);
    ev_io_set(&r->io, r->fd, events);
    ev_io_start(ev, &r->io);
}

static void watch_tls(struct member *r) {
    watch(r, tls_wants(r->tls) == TLS_WANTS_WRITE ? EV_WRITE : EV_READ);
}

static void send_request(struct member *r) {
    struct crowd *crowd = r->crowd;
    struct slice request = crowd->options.request, none = {0};
    ssize_t sent =
        r->tls ? tls_write(r->tls, request, none) : sock_send(r->fd, request, none);
    if (sent != (ssize_t)request.n) {
        fail(r, sent < 0 ? (int)-sent : EAGAIN);
        return;
    }
    r->state = MEMBER_HEAD;
    crowd->under_way--;
    watch(r, EV_READ);
    crowd_go_on(crowd);
}

static void shake_hands(struct member *r) {
    int err = tls_handshake(r->tls);
    if (err == 0) send_request(r);
    else if (err == -EAGAIN) watch_tls(r);
    else fail(r, -err);
}

static void on_connected(struct member *r) {
    const struct crowd_options *o = &r->crowd->options;
    int error = 0;
    socklen_t size = sizeof error;
    (void)getsockopt(r->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        fail(r, error);
    } else if (!o->tls) {
        send_request(r);
    } else if ((r->tls = tls_client_open(o->tls, r->fd, o->host.p,
                                         slice_str("\x08http/1.1")))) {
        r->state = MEMBER_HANDSHAKE;
        shake_hands(r);
    } else {
        fail(r, ENOMEM);
    }
}

/* The next bytes of the answer, as sock_read says it. */
static ssize_t read_bytes(struct member *r) {
    char *into = r->crowd->bytes;
    if (!r->tls) return sock_read(r->fd, into, sizeof r->crowd->bytes);
    ssize_t n = tls_read(r->tls, into, sizeof r->crowd->bytes);
    if (n == -EAGAIN) watch_tls(r);
    return n;
}

static void on_io(struct ev_loop *ev, struct ev_io *io, int events) {
    (void)ev, (void)events;
    struct member *r = io->data;
    struct crowd *crowd = r->crowd;
    if (r->state == MEMBER_CONNECTING || r->state == MEMBER_HANDSHAKE) {
        if (r->state == MEMBER_CONNECTING) on_connected(r);
        else shake_hands(r);
        return;
    }
    ssize_t n = read_bytes(r);
    if (n == -EAGAIN) return;
    if (n <= 0) {
        end(r, n);
        return;
    }
    crowd->counts.bytes += (uint64_t)n;
    struct slice bytes = slice_of(crowd->bytes, (size_t)n);
    if (r->state == MEMBER_HEAD) take_head(r, bytes);
    else take_body(r, bytes);
}

void member_open(struct member *r) {
    struct crowd *crowd = r->crowd;
    const struct crowd_options *o = &crowd->options;
    int on = 1, type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    r->began_us = clock_us();
    r->state = MEMBER_CONNECTING;
    crowd->under_way++;
    r->fd = socket(o->to.ss_family, type, 0);
    if (r->fd < 0) {
        fail(r, errno);
        return;
    }
    (void)setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ev_io_init(&r->io, on_io, r->fd, EV_WRITE);
    r->io.data = r;
    if (connect(r->fd, (const struct sockaddr *)&o->to, o->to_n) < 0 &&
        errno != EINPROGRESS) {
        fail(r, errno);
        return;
    }
    ev_io_start(crowd->loop->ev, &r->io);
}
