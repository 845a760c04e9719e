/* A connection that is moved through a bad network; see conn.h.
 *
 * Each turn reads from both sides as far as the pipes have room, writes what they let go,
 * passes on the ends that are due, and then waits for sockets and for the pipes' next time.
 * An end travels behind the bytes before it: a FIN ends one direction, a RST both. */
#include "lab/conn.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/sock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

static const char ANSWER[] =
    "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\n"
    "Content-Length: 12\r\nConnection: close\r\n\r\nBad Gateway\n";

static struct conn_side *other(struct conn_side *s) {
    return s == &s->conn->client ? &s->conn->server : &s->conn->client;
}

/* ---- Ends --------------------------------------------------------------------------- */

static void close_side(struct conn_side *s, bool reset) {
    if (s->fd < 0) return;
    struct linger now = {.l_onoff = 1};
    ev_io_stop(s->conn->lab->loop->ev, &s->io);
    if (reset) (void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(s->fd);
    s->fd = -1;
}

static void conn_free(struct conn *c, bool reset) {
    struct lab *lab = c->lab;
    close_side(&c->client, reset);
    close_side(&c->server, reset);
    ev_timer_stop(lab->loop->ev, &c->timer);
    pipe_free(&c->client.pipe);
    pipe_free(&c->server.pipe);
    list_remove(&c->node);
    mem_free(c);
    lab->counts.open--;
    if (lab->counts.open == LAB_CONNS_MAX - 1) ev_io_start(lab->loop->ev, &lab->accept);
}

/* Bytes that nobody has read would make a RST of the FIN. */
static void swallow(int fd) {
    char part[4096];
    for (int i = 0; i < 16 && fd >= 0 && sock_read(fd, part, sizeof part) > 0;) i++;
}

void conn_cut(struct conn *c, bool by_end) {
    if (by_end) {
        swallow(c->client.fd);
        swallow(c->server.fd);
    }
    conn_free(c, !by_end);
}

/* ---- 502 ---------------------------------------------------------------------------- */

static void refuse(struct conn *c, int error) {
    c->state = CONN_REFUSED;
    c->since_ms = clock_ms();
    close_side(&c->server, true);
    lab_note(c->lab, LAB_REFUSED, error, 0);
}

/* A whole head, or as much as is waited for. */
static bool has_asked(const struct conn *c, int64_t now) {
    const struct pipe *p = &c->client.pipe;
    if (c->client.shut || p->end != PIPE_OPEN || p->n >= LAB_REQUEST_MAX) return true;
    if (p->n > 0 && memmem(p->bytes + p->from, p->n, "\r\n\r\n", 4)) return true;
    return now - c->since_ms >= LAB_REQUEST_MS;
}

/* True: it is gone. It stays until the client has read the answer and closes. */
static bool answer(struct conn *c, const struct pipe_now *now) {
    if (!has_asked(c, now->ms)) return false;
    enum pipe_end end = c->client.pipe.end;
    bool asked = c->client.pipe.n > 0;
    pipe_free(&c->client.pipe);
    c->client.pipe.end = end;
    if (asked && !c->client.shut) {
        (void)sock_send(c->client.fd, slice_str(ANSWER), (struct slice){0});
        (void)shutdown(c->client.fd, SHUT_WR);
        c->client.shut = true;
        c->since_ms = now->ms;
    }
    if (c->client.shut && end == PIPE_OPEN && now->ms - c->since_ms < LAB_REQUEST_MS)
        return false;
    conn_free(c, false);
    return true;
}

/* ---- Moving ------------------------------------------------------------------------- */

static void take_in(struct conn_side *s, const struct pipe_now *now) {
    char bytes[LAB_TURN_BYTES];
    struct pipe *p = &s->pipe;
    uint32_t room = pipe_room(p, now->bandwidth);
    if (s->fd < 0 || p->end != PIPE_OPEN || room == 0) return;
    ssize_t n = sock_read(s->fd, bytes, room < sizeof bytes ? room : sizeof bytes);
    if (n == -EAGAIN) return;
    if (n > 0) {
        s->conn->moved_ms = now->ms;
        if (pipe_put(p, now, slice_of(bytes, (size_t)n)) == 0) return;
    }
    pipe_close(p, now, n == 0 ? PIPE_FIN : PIPE_RST);
}

/* It has gone: so has what was for it. */
static void give_up(struct conn_side *s, struct pipe *p, const struct pipe_now *now) {
    pipe_free(p);
    pipe_close(p, now, PIPE_FIN);
    s->shut = true;
}

/* Write what the other side's pipe lets go now. When to look again. */
static int64_t give_some(struct conn_side *s, const struct pipe_now *now) {
    struct pipe *p = &other(s)->pipe;
    struct lab_counts *counts = &s->conn->lab->counts;
    int64_t again;
    struct slice bytes = pipe_look(p, now, &again);
    s->full = false;
    if (bytes.n == 0) return again;
    ssize_t n = sock_send(s->fd, bytes, (struct slice){0});
    if (n < 0) {
        give_up(s, p, now);
        return now->ms;
    }
    pipe_took(p, (uint32_t)n);
    *(s == &s->conn->client ? &counts->down : &counts->up) += (uint64_t)n;
    counts->sends++;
    if (n > 0) s->conn->moved_ms = now->ms;
    s->full = (size_t)n < bytes.n;
    return s->full ? INT64_MAX : again;
}

/* Single bytes: some in a turn. */
static int64_t give_out(struct conn_side *s, const struct pipe_now *now) {
    int64_t again = give_some(s, now);
    for (int i = 1; i < LAB_TURN_SENDS && now->byte_at_a_time && again <= now->ms; i++)
        again = give_some(s, now);
    return again;
}

/* Pass the end on that came from the other side. True: the connection is gone. */
static bool pass_end(struct conn_side *s, const struct pipe_now *now) {
    enum pipe_end end = pipe_ended(&other(s)->pipe, now);
    if (end == PIPE_OPEN) return false;
    if (end == PIPE_RST) {
        conn_free(s->conn, true);
        return true;
    }
    if (!s->shut) (void)shutdown(s->fd, SHUT_WR);
    s->shut = true;
    return false;
}

/* ---- Turns -------------------------------------------------------------------------- */

static void want(struct conn_side *s, int64_t bandwidth) {
    struct ev_loop *ev = s->conn->lab->loop->ev;
    if (s->fd < 0) return;
    bool reads = s->pipe.end == PIPE_OPEN && pipe_room(&s->pipe, bandwidth) > 0;
    int events = (reads ? EV_READ : 0) | (s->full ? EV_WRITE : 0);
    if (s == &s->conn->server && s->conn->state == CONN_CONNECTING) events = EV_WRITE;
    if (ev_is_active(&s->io) && s->io.events == events) return;
    ev_io_stop(ev, &s->io);
    ev_io_set(&s->io, s->fd, events);
    if (events) ev_io_start(ev, &s->io);
}

static void look_at(struct conn *c, int64_t now, int64_t at) {
    struct ev_loop *ev = c->lab->loop->ev;
    ev_timer_stop(ev, &c->timer);
    if (at == INT64_MAX) return;
    ev_now_update(ev);
    ev_timer_set(&c->timer, at > now ? (double)(at - now) / 1000 : 0, 0);
    ev_timer_start(ev, &c->timer);
}

/* The limits in time of its state. True: the connection is gone. */
static bool check_time(struct conn *c, const struct pipe_now *now, int64_t *at) {
    int64_t idle = c->lab->sky.faults.idle_ms, end = INT64_MAX;
    if (c->state == CONN_CONNECTING) end = c->since_ms + LAB_CONNECT_MS;
    if (c->state == CONN_REFUSED) end = c->since_ms + LAB_REQUEST_MS;
    if (c->state == CONN_CONNECTING && now->ms >= end) refuse(c, ETIMEDOUT);
    if (c->state == CONN_OPEN && idle > 0) end = c->moved_ms + idle;
    if (c->state == CONN_OPEN && idle > 0 && now->ms >= end) {
        struct lab *lab = c->lab;
        conn_cut(c, lab->sky.faults.cut_by_end);
        lab_note(lab, LAB_IDLE, idle, 0);
        return true;
    }
    if (end < *at) *at = end;
    return false;
}

/* True: the connection is gone. */
static bool move(struct conn *c, const struct pipe_now *now, int64_t *at) {
    struct pipe_now down = *now, up = *now;
    up.byte_at_a_time = false;
    up.hold_ms = 0;
    take_in(&c->server, &down);
    *at = give_out(&c->client, &down);
    int64_t up_at = give_out(&c->server, &up);
    if (up_at < *at) *at = up_at;
    if (pass_end(&c->client, now) || pass_end(&c->server, now)) return true;
    if (!c->client.shut || !c->server.shut) return false;
    conn_free(c, false);
    return true;
}

void conn_turn(struct conn *c) {
    struct pipe_now now = lab_now(c->lab), up = now;
    int64_t at = INT64_MAX;
    up.byte_at_a_time = false;
    up.hold_ms = 0;
    take_in(&c->client, &up);
    if (c->state == CONN_OPEN && move(c, &now, &at)) return;
    if (c->state == CONN_REFUSED && answer(c, &now)) return;
    if (check_time(c, &now, &at)) return;
    want(&c->client, now.bandwidth);
    want(&c->server, now.bandwidth);
    look_at(c, now.ms, at);
}

static void on_timer(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)ev, (void)events;
    conn_turn(timer->data);
}

static void on_io(struct ev_loop *ev, struct ev_io *io, int events) {
    (void)ev, (void)events;
    struct conn_side *s = io->data;
    struct conn *c = s->conn;
    if (s == &c->server && c->state == CONN_CONNECTING) {
        int error = 0;
        socklen_t n = sizeof error;
        (void)getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &n);
        if (error) refuse(c, error);
        else c->state = CONN_OPEN;
    }
    conn_turn(c);
}

/* ---- Begin -------------------------------------------------------------------------- */

static void init_side(struct conn *c, struct conn_side *s, int fd, uint64_t random) {
    int on = 1;
    s->conn = c;
    s->fd = fd;
    s->pipe.random = random;
    ev_io_init(&s->io, on_io, fd, 0);
    s->io.data = s;
    if (fd >= 0) (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* Begin to connect: 0 or an errno. What the kernel takes for us no pipe can hold back: not
 * much more than a pipe does. */
static int reach(struct conn *c, uint64_t random) {
    const struct lab_options *o = &c->lab->options;
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, bytes = LAB_PIPE_BYTES;
    int fd = socket(o->to.ss_family, type, 0);
    if (fd < 0) return errno;
    init_side(c, &c->server, fd, random);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (connect(fd, (const struct sockaddr *)&o->to, o->to_n) == 0) return 0;
    return errno == EINPROGRESS ? 0 : errno;
}

void conn_open(struct lab *lab, int fd) {
    struct conn *c = mem_new(sizeof *c);
    c->lab = lab;
    c->since_ms = c->moved_ms = clock_ms();
    list_add(&lab->conns, &c->node);
    lab->counts.open++;
    uint64_t random = lab->options.seed + 2 * ++lab->counts.all;
    init_side(c, &c->client, fd, random);
    init_side(c, &c->server, -1, 0);
    ev_timer_init(&c->timer, on_timer, 0, 0);
    c->timer.data = c;
    bool away = weather_is(&lab->sky, WEATHER_AWAY);
    int error = away ? 0 : reach(c, random + 1);
    if (away || error) refuse(c, error);
    conn_turn(c);
}
