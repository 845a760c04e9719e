/* The worker of the load generator; see swarm.h.
 *
 * Streams that are to be opened wait in a ring of numbers, 128 connects are under way at
 * most. A stream that the server ends is opened again, with the id it had last. */
#include "swarm.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "conn.h"
#include "secure.h"

#define UNDER_WAY_MAX 128
#define READ_BYTES (256 * 1024)
#define REQUEST_MAX 9000
#define SLOW_TICK_NS 10000000u
#define RETRY_NS 100000000u

struct swarm {
    const struct swarm_options *o;
    struct tally *t;
    struct conn *conns;
    int epoll;
    uint32_t *queue, queue_first, queued; /* ring of streams to open */
    uint32_t under_way, opened;
    uint64_t began_ns, not_before_ns, slow_due_ns;
    char *buffer;
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void queue_push(struct swarm *s, const struct conn *c) {
    const uint32_t at = (s->queue_first + s->queued++) % s->o->streams;
    s->queue[at] = (uint32_t)(c - s->conns);
}

static void close_conn(struct swarm *s, struct conn *c) {
    if (c->state == CONN_CLOSED) return;
    if (c->state == CONN_CONNECTING) s->under_way--;
    if (c->ready) {
        s->t->open--;
        if (c->track) s->t->parsed--;
    }
    if (s->o->secure) secure_end(c->fd);
    close(c->fd);
    free(c->head);
    c->head = NULL;
    c->ready = false;
    c->late = true;
    c->state = CONN_CLOSED;
}

/* The server ended it, or it never came to be: once more. */
static void reopen(struct swarm *s, struct conn *c) {
    const bool stood = c->ready || (s->o->mode == SWARM_STALLED && c->state == CONN_HEAD);
    if (stood) s->t->closed++;
    else {
        s->t->failed++;
        s->not_before_ns = clock_ns() + RETRY_NS;
    }
    close_conn(s, c);
    queue_push(s, c);
}

static void done(struct swarm *s, struct conn *c) {
    s->t->done++;
    c->held = true;
    if (!s->o->hold) close_conn(s, c);
}

/* ---- Connecting --------------------------------------------------------------------- */

static void watch(struct swarm *s, struct conn *c, int operation, uint32_t events) {
    struct epoll_event ev = {.events = events, .data.ptr = c};
    if (epoll_ctl(s->epoll, operation, c->fd, &ev) < 0) fail("load: epoll_ctl");
}

static void bind_source(int fd, uint32_t source) {
    const int on = 1;
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(0x7f000000u + source);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0) fail("load: bind");
}

static void open_conn(struct swarm *s, struct conn *c) {
    const struct swarm_options *o = s->o;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(o->port)};
    if (inet_pton(AF_INET, o->host, &to.sin_addr) != 1) fail("load: --host");
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) fail("load: socket");
    const int size = (int)o->receive_buffer;
    if (size) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (o->source) bind_source(c->fd, o->source);
    c->began_ns = clock_ns();
    c->state = CONN_CONNECTING;
    c->ready = false;
    s->under_way++;
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) {
        reopen(s, c);
        return;
    }
    watch(s, c, EPOLL_CTL_ADD, EPOLLOUT);
}

/* The path with {i} filled in. */
static void write_path(char *into, size_t size, const char *path, uint32_t number) {
    const char *at = strstr(path, "{i}");
    if (!at) snprintf(into, size, "%s", path);
    else snprintf(into, size, "%.*s%u%s", (int)(at - path), path, number, at + 3);
}

static size_t write_request(struct swarm *s, struct conn *c, char *into) {
    const struct swarm_options *o = s->o;
    char path[512];
    write_path(path, sizeof path, o->path, o->first + (uint32_t)(c - s->conns));
    if (o->frames) return frames_open(into, path);
    const char *id =
        c->track && c->track->last_id[0] ? c->track->last_id : o->last_event_id;
    int n = snprintf(
        into, REQUEST_MAX,
        "GET %s HTTP/1.1\r\nHost: %s:%u\r\nAccept: text/event-stream\r\n%s%s%s", path,
        o->host, o->port, id ? "Last-Event-ID: " : "", id ? id : "", id ? "\r\n" : "");
    const int pad = (int)o->head_bytes - n - 14; /* "Cookie: a=" CRLF CRLF */
    if (pad > 0 && pad < REQUEST_MAX - 2000) {
        n += snprintf(into + n, 16, "Cookie: a=");
        memset(into + n, 'x', (size_t)pad);
        n += pad;
        n += snprintf(into + n, 3, "\r\n");
    }
    n += snprintf(into + n, 3, "\r\n");
    return (size_t)n;
}

/* A handshake first, where there is one: one at a time. */
static bool send_request(const struct swarm *s, int fd, const char *request, size_t n) {
    if (!s->o->secure) return send(fd, request, n, MSG_NOSIGNAL) == (ssize_t)n;
    return secure_shake(fd) && secure_send(fd, request, n) == (ssize_t)n;
}

static void on_connected(struct swarm *s, struct conn *c) {
    char request[REQUEST_MAX];
    int err = 0;
    socklen_t size = sizeof err;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &size);
    const size_t n = write_request(s, c, request);
    if (err || !send_request(s, c->fd, request, n)) {
        reopen(s, c);
        return;
    }
    s->under_way--;
    s->t->connects++;
    conn_begin(c, clock_ns());
    frames_begin(&c->frames);
    if (s->o->until > 0 && c->track) c->wanted = c->track->events + (uint64_t)s->o->until;
    const bool reads = s->o->mode == SWARM_HONEST;
    watch(s, c, EPOLL_CTL_MOD, reads ? EPOLLIN : 0); /* errors are always told */
}

static void open_some(struct swarm *s) {
    const uint64_t now = clock_ns();
    if (now < s->not_before_ns) return;
    while (s->queued && s->under_way < UNDER_WAY_MAX) {
        if (s->o->rate) {
            const uint64_t due = s->began_ns + s->opened * 1000000000ull / s->o->rate;
            if (due > now) return;
        }
        s->opened++;
        struct conn *c = &s->conns[s->queue[s->queue_first]];
        s->queue_first = (s->queue_first + 1) % s->o->streams;
        s->queued--;
        open_conn(s, c);
    }
}

/* ---- Reading ------------------------------------------------------------------------ */

static void note_gap(struct swarm *s, struct conn *c, uint64_t now) {
    const uint64_t gap = now - c->rx_ns;
    if (gap > atomic_load_explicit(&s->t->gap_max_ns, memory_order_relaxed))
        atomic_store_explicit(&s->t->gap_max_ns, gap, memory_order_relaxed);
    if (s->o->gap_ns && gap > s->o->gap_ns) s->t->late_gaps++;
}

static bool has_enough(struct swarm *s, struct conn *c) {
    if (s->o->until < 0 || !c->ready || c->held) return false;
    return s->o->until == 0 || (c->track && c->track->events >= c->wanted);
}

/* A connection that reads HTTP/2. */
struct reading {
    struct swarm *s;
    struct conn *c;
    uint64_t now;
};

static bool take_text(void *owner, const char *p, size_t n) {
    const struct reading *r = owner;
    return conn_feed(r->c, r->s->t, p, n, r->now);
}

static bool answer(void *owner, const char *p, size_t n) {
    const struct reading *r = owner;
    return secure_send(r->c->fd, p, n) == (ssize_t)n;
}

static bool feed(struct swarm *s, struct conn *c, size_t n, uint64_t now) {
    if (!s->o->frames) return conn_feed(c, s->t, s->buffer, n, now);
    struct reading r = {s, c, now};
    const struct frames_out out = {&r, take_text, answer};
    return frames_feed(&c->frames, &out, s->buffer, n);
}

/* Read once, up to 'max' bytes. */
static void read_conn(struct swarm *s, struct conn *c, size_t max) {
    const ssize_t n = s->o->secure ? secure_recv(c->fd, s->buffer, max)
                                   : recv(c->fd, s->buffer, max, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        reopen(s, c);
        return;
    }
    const uint64_t now = clock_ns();
    s->t->reads++;
    s->t->bytes += (uint64_t)n;
    if (c->ready) note_gap(s, c, now);
    if (!feed(s, c, (size_t)n, now)) {
        reopen(s, c);
        return;
    }
    if (has_enough(s, c)) {
        if (s->o->until > 0) hist_add(&s->t->connect, now - c->began_ns);
        done(s, c);
    }
}

static void read_slowly(struct swarm *s) {
    const uint64_t now = clock_ns();
    if (now < s->slow_due_ns) return;
    s->slow_due_ns += SLOW_TICK_NS;
    if (s->slow_due_ns < now) s->slow_due_ns = now; /* late: no bursts to catch up */
    const size_t share =
        (size_t)((uint64_t)s->o->slow_bytes * SLOW_TICK_NS / 1000000000u);
    for (uint32_t i = 0; i < s->o->streams; i++) {
        struct conn *c = &s->conns[i];
        if (c->state > CONN_CONNECTING)
            read_conn(s, c, c->ready ? share + 1 : READ_BYTES);
    }
}

static void on_event(struct swarm *s, struct conn *c, uint32_t events) {
    if (c->state == CONN_CLOSED) return;
    if (c->state == CONN_CONNECTING) on_connected(s, c);
    else if (s->o->mode == SWARM_HONEST) read_conn(s, c, READ_BYTES);
    else if (events & (EPOLLERR | EPOLLHUP)) reopen(s, c);
}

/* ---- What the parent asks for ------------------------------------------------------- */

/* Compare all checksums with the parsed stream's. */
static void verify(struct swarm *s) {
    const struct conn *reference = &s->conns[0];
    for (uint32_t i = 0; i < s->o->streams; i++) {
        const struct conn *c = &s->conns[i];
        if (!c->ready || c->late || reference->late) continue;
        if (c->body_bytes < reference->body_bytes) s->t->crc_short++;
        else if (c->body_bytes > reference->body_bytes) s->t->crc_long++;
        else if (c->crc != reference->crc) s->t->crc_differ++;
    }
}

/* All streams break off at once and come back with what they saw last. */
static void storm(struct swarm *s) {
    for (uint32_t i = 0; i < s->o->streams; i++) {
        struct conn *c = &s->conns[i];
        if (!c->ready) continue;
        close_conn(s, c);
        queue_push(s, c);
    }
    s->began_ns = clock_ns();
    s->opened = 0;
}

static bool obey(struct swarm *s) {
    struct tally *t = s->t;
    t->cpu_ns = clock_cpu_ns();
    const uint64_t asked = atomic_load(&t->verify);
    if (asked != atomic_load(&t->verified)) {
        verify(s);
        atomic_store(&t->verified, asked);
    }
    const uint64_t storms = atomic_load(&t->storm);
    if (storms != atomic_load(&t->stormed)) {
        storm(s);
        atomic_store(&t->stormed, storms);
    }
    return !atomic_load(&t->quit);
}

/* ---- Life --------------------------------------------------------------------------- */

static struct conn *make_conns(const struct swarm_options *o, struct tally *t) {
    struct conn *conns = calloc(o->streams, sizeof *conns);
    struct track *tracks = calloc(o->streams, sizeof *tracks);
    if (!conns || !tracks) fail("load: memory");
    for (uint32_t i = 0; i < o->streams; i++) {
        const bool parsed = i == 0 || (uint64_t)i * o->parse_percent / 100 !=
                                          (uint64_t)(i - 1) * o->parse_percent / 100;
        conns[i].state = CONN_CLOSED;
        if (!parsed) continue;
        conns[i].track = &tracks[i];
        track_init(&tracks[i], t, o->rounds);
        tracks[i].reference = i == 0;
    }
    return conns;
}

static void free_conns(struct conn *conns, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        free(conns[i].head);
        if (conns[i].track) track_deinit(conns[i].track);
    }
    free(conns[0].track); /* the first stream is a parsed one: all tracks begin there */
    free(conns);
}

void swarm_run(const struct swarm_options *o, struct tally *t) {
    struct swarm s = {.o = o, .t = t, .began_ns = clock_ns()};
    if (o->secure) secure_start(NULL, NULL);
    if (o->frames) secure_want_h2();
    s.conns = make_conns(o, t);
    s.queue = calloc(o->streams, sizeof *s.queue);
    s.buffer = malloc(READ_BYTES);
    s.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!s.queue || !s.buffer || s.epoll < 0) fail("load: start");
    for (uint32_t i = 0; i < o->streams; i++) queue_push(&s, &s.conns[i]);
    s.slow_due_ns = clock_ns();
    while (obey(&s)) {
        struct epoll_event events[256];
        open_some(&s);
        const bool soon = s.queued || o->mode == SWARM_SLOW;
        const int n = epoll_wait(s.epoll, events, 256, soon ? 1 : 20);
        for (int i = 0; i < n; i++) on_event(&s, events[i].data.ptr, events[i].events);
        if (o->mode == SWARM_SLOW) read_slowly(&s);
    }
    free_conns(s.conns, o->streams);
    free(s.queue);
    free(s.buffer); /* the process ends now and closes what is open */
}
