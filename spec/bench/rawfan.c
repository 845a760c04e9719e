/* The raw limit: what the kernel alone charges for handing the same bytes to N sockets.
 *
 *   rawfan [--port P [CERTIFICATE KEY]]   prints its port, then serves until it is killed
 *   GET  /anything               a stream: head and preamble, then what bursts send
 *   POST /burst?events=E&batch=K&every=US&kind=KIND[&to=N][&pad=BYTES]
 *   GET  /status                 {"subscribers","events","sends","again","cpu_ns"}
 *
 * One thread, no queue, no log, no Lua. A burst is a plain loop that leaves the event loop
 * alone until it ends, so no baseline could be cheaper. KIND is
 *   joined  K events a turn in one chunk, one send() a socket and turn; K = 1 is R, K = 8
 *           is RJ(8) of the targets
 *   single  one send() an event and socket: what a server without batching does
 *   natural an event every US; each turn sends all that are due, joined: the least that a
 *           server with natural batching can do, with the readers' own delays in it
 *   beat    one heartbeat to the next socket a turn (paced sends)
 * With a certificate streams may come over TLS, each chunk in one SSL_write.
 * With N an event goes to N sockets that are drawn for it, without to all.
 * The cost of a connect (accept, options, epoll, read, head, close) needs no burst. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "secure.h"

#define SOCKETS_MAX 65536
#define EVENT_PAD 126 /* makes a frame of 200 bytes, as the Lua app's */
#define PAD_MAX 1000
#define BATCH_MAX 64
#define FRAME_MAX (PAD_MAX + 200)
#define REQUEST_MAX 16384

static const char HEAD[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                           "Cache-Control: no-store, no-transform\r\n"
                           "X-Accel-Buffering: no\r\nX-Content-Type-Options: nosniff\r\n"
                           "Vary: Origin\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n"
                           "3b\r\n:ok\nretry: 3000\nevent: hello\ndata: {}\n"
                           "id: aaaaaaaaaaaaa-0\n\n\r\n";
static const char BEAT[] = "2\r\n:\n\r\n";

struct fan {
    int epoll, listener;
    int *sockets; /* dense: the streams */
    int *place;   /* by fd: index in sockets, -1: no stream */
    int count;
    uint64_t n; /* number of the last event */
    uint64_t events, sends, again, burst_cpu_ns;
    int next_beat;
    int pad;     /* bytes in each event of this burst */
    bool secure; /* streams come over TLS */
    uint32_t random;
};

struct burst {
    unsigned long events, batch, every_us, to;
    char kind[8];
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* ---- Bursts ------------------------------------------------------------------------- */

static void send_to(struct fan *f, int fd, const char *p, size_t n) {
    f->sends++;
    if (f->secure) {
        if (secure_send(fd, p, n) != (ssize_t)n) f->again++;
        return;
    }
    if (send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)n) f->again++;
}

/* xorshift32 */
static uint32_t draw(struct fan *f) {
    f->random ^= f->random << 13;
    f->random ^= f->random >> 17;
    f->random ^= f->random << 5;
    return f->random;
}

/* To so many that are drawn, or with 0 to all. */
static void send_to_some(struct fan *f, unsigned long to, const char *p, size_t n) {
    for (unsigned long i = 0; i < to && f->count; i++)
        send_to(f, f->sockets[draw(f) % (uint32_t)f->count], p, n);
    for (int i = 0; i < f->count && to == 0; i++) send_to(f, f->sockets[i], p, n);
}

/* One chunk of k events, stamped with the time they became due, 'every' ns apart; 0: now.
 * Returns its size. */
static size_t write_chunk(struct fan *f, char *into, unsigned long k, uint64_t due,
                          uint64_t every) {
    static char body[BATCH_MAX * FRAME_MAX], pad[PAD_MAX];
    size_t n = 0;
    memset(pad, 'x', PAD_MAX);
    for (unsigned long i = 0; i < k; i++) {
        const unsigned long long number = ++f->n;
        const unsigned long long us = (due ? due + i * every : clock_ns()) / 1000;
        n += (size_t)snprintf(
            body + n, FRAME_MAX,
            "event: tick\ndata: {\"n\":%llu,\"t\":%llu,\"pad\":\"%.*s\"}\n"
            "id: aaaaaaaaaaaaa-%llu\n\n",
            number, us, f->pad, pad, number);
    }
    return (size_t)sprintf(into, "%zx\r\n%.*s\r\n", n, (int)n, body);
}

static void burst_turn(struct fan *f, const struct burst *b, unsigned long left) {
    static char chunk[BATCH_MAX * FRAME_MAX + 16];
    if (strcmp(b->kind, "beat") == 0) {
        if (f->count) send_to(f, f->sockets[f->next_beat++ % f->count], BEAT, 7);
        f->events++;
        return;
    }
    const unsigned long batch = left < b->batch ? left : b->batch;
    if (strcmp(b->kind, "single") != 0) {
        const size_t n = write_chunk(f, chunk, batch, 0, 0);
        send_to_some(f, b->to, chunk, n);
        f->events += batch;
        return;
    }
    for (unsigned long i = 0; i < batch; i++) {
        const size_t n = write_chunk(f, chunk, 1, 0, 0);
        send_to_some(f, b->to, chunk, n);
        f->events++;
    }
}

/* As a server does that takes what came while it sent. */
static void burst_natural(struct fan *f, const struct burst *b) {
    static char chunk[BATCH_MAX * FRAME_MAX + 16];
    const uint64_t every = b->every_us * 1000;
    uint64_t due = clock_ns();
    for (unsigned long left = b->events; left;) {
        clock_wait(due);
        unsigned long k = (unsigned long)((clock_ns() - due) / every) + 1;
        if (k > left) k = left;
        if (k > BATCH_MAX) k = BATCH_MAX;
        const size_t n = write_chunk(f, chunk, k, due, every);
        send_to_some(f, 0, chunk, n);
        f->events += k;
        left -= k;
        due += k * every;
    }
}

static void burst_run(struct fan *f, const struct burst *b) {
    if (strcmp(b->kind, "natural") == 0 && b->every_us) {
        burst_natural(f, b);
        return;
    }
    const uint64_t cpu = clock_cpu_ns();
    const bool beat = strcmp(b->kind, "beat") == 0;
    uint64_t due = clock_ns();
    for (unsigned long left = b->events; left;) {
        burst_turn(f, b, left);
        left -= beat ? 1 : left < b->batch ? left : b->batch;
        due += b->every_us * 1000;
        if (b->every_us && left) clock_wait(due);
    }
    f->burst_cpu_ns += clock_cpu_ns() - cpu;
}

/* ---- Requests ----------------------------------------------------------------------- */

static unsigned long read_param(const char *request, const char *name,
                                unsigned long none) {
    const char *at = strstr(request, name);
    return at ? strtoul(at + strlen(name), NULL, 10) : none;
}

static void read_burst(const char *request, struct burst *b) {
    b->events = read_param(request, "events=", 1);
    b->batch = read_param(request, "batch=", 1);
    if (b->batch < 1 || b->batch > BATCH_MAX) b->batch = 1;
    b->every_us = read_param(request, "every=", 0);
    b->to = read_param(request, "to=", 0);
    const char *kind = strstr(request, "kind=");
    const int size = kind ? (int)strcspn(kind + 5, "& ") : 0;
    snprintf(b->kind, sizeof b->kind, "%.*s", size, kind ? kind + 5 : "");
}

static void answer(int fd, int status, const char *body) {
    char text[512];
    const int n = snprintf(text, sizeof text,
                           "HTTP/1.1 %d OK\r\nContent-Type: application/json\r\n"
                           "Content-Length: %zu\r\n\r\n%s",
                           status, strlen(body), body);
    if (send(fd, text, (size_t)n, MSG_NOSIGNAL) < 0) return;
}

static void answer_status(struct fan *f, int fd) {
    char body[256];
    snprintf(body, sizeof body,
             "{\"subscribers\":%d,\"events\":%llu,\"sends\":%llu,\"again\":%llu,"
             "\"cpu_ns\":%llu,\"busy\":false}",
             f->count, (unsigned long long)f->events, (unsigned long long)f->sends,
             (unsigned long long)f->again, (unsigned long long)f->burst_cpu_ns);
    answer(fd, 200, body);
}

static void become_stream(struct fan *f, int fd) {
    if (secure_is(fd)) secure_send(fd, HEAD, sizeof HEAD - 1);
    else if (send(fd, HEAD, sizeof HEAD - 1, MSG_NOSIGNAL) < 0) return;
    f->place[fd] = f->count;
    f->sockets[f->count++] = fd;
}

static void on_request(struct fan *f, int fd, const char *request) {
    if (strncmp(request, "POST /burst", 11) == 0) {
        struct burst b;
        read_burst(request, &b);
        const unsigned long pad = read_param(request, "pad=", EVENT_PAD);
        f->pad = (int)(pad < PAD_MAX ? pad : PAD_MAX);
        answer(fd, 202, "{}");
        burst_run(f, &b);
    } else if (strncmp(request, "GET /status", 11) == 0) {
        answer_status(f, fd);
    } else {
        become_stream(f, fd);
    }
}

/* ---- Sockets ------------------------------------------------------------------------ */

static void drop(struct fan *f, int fd) {
    const int at = f->place[fd];
    if (at >= 0) {
        f->sockets[at] = f->sockets[--f->count];
        f->place[f->sockets[at]] = at;
    }
    f->place[fd] = -1;
    secure_end(fd);
    close(fd);
}

/* Bytes of a request; 0 at its end. A hello, which begins with 22, is followed by all of its handshake: the
 * readers make one at a time. */
static ssize_t read_some(struct fan *f, int fd, char *into) {
    char first = 0;
    if (secure_is(fd)) return secure_recv(fd, into, REQUEST_MAX);
    if (f->secure && recv(fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) == 1 && first == 22) {
        const bool done = secure_shake(fd);
        errno = EAGAIN;
        return done ? -1 : 0;
    }
    return recv(fd, into, REQUEST_MAX, MSG_DONTWAIT);
}

/* A request is taken for whole when it came in one piece, as those of load.c do. */
static void on_readable(struct fan *f, int fd) {
    static char request[REQUEST_MAX + 1];
    const ssize_t n = read_some(f, fd, request);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        drop(f, fd);
        return;
    }
    request[n] = 0;
    on_request(f, fd, request);
}

static void accept_some(struct fan *f) {
    const int on = 1;
    for (int i = 0; i < 64; i++) {
        const int fd = accept4(f->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        f->place[fd] = -1;
        struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
        if (epoll_ctl(f->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) fail("rawfan: epoll_ctl");
    }
}

static int listen_on(uint16_t port) {
    const int on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t size = sizeof at;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("rawfan: socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 4096) < 0)
        fail("rawfan: listen");
    getsockname(fd, (struct sockaddr *)&at, &size);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

static void fan_start(struct fan *f, uint16_t port) {
    struct rlimit r;
    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
    f->sockets = calloc(SOCKETS_MAX, sizeof *f->sockets);
    f->place = calloc(SOCKETS_MAX, sizeof *f->place);
    f->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!f->sockets || !f->place || f->epoll < 0) fail("rawfan: start");
    f->listener = listen_on(port);
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = f->listener};
    if (epoll_ctl(f->epoll, EPOLL_CTL_ADD, f->listener, &ev) < 0)
        fail("rawfan: epoll_ctl");
}

int main(int argc, char **argv) {
    static struct fan f = {.random = 1};
    const bool has_port = argc >= 3 && strcmp(argv[1], "--port") == 0;
    f.secure = argc == 5;
    if (f.secure) secure_start(argv[3], argv[4]);
    fan_start(&f, has_port ? (uint16_t)strtoul(argv[2], NULL, 10) : 0);
    for (;;) {
        struct epoll_event events[256];
        const int n = epoll_wait(f.epoll, events, 256, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == f.listener) accept_some(&f);
            else on_readable(&f, events[i].data.fd);
        }
    }
}
