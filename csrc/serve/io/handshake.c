/* Handshakes; see handshake.h. */
#include "serve/io/handshake.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "net/address.h"
#include "net/tls_server.h"
#include "serve/io/conn.h"
#include "serve/io/output.h"
#include "serve/io/worker.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

struct handshake {
    struct list age, ready; /* its nodes in the lists of all and of the ready */
    struct ev_io io;        /* its data: the worker */
    struct tls *tls;        /* NULL: nothing has come yet. Owned */
    int64_t began_ms;
    struct in6_addr ip;
};

static struct worker *worker_of(const struct handshake *h) {
    return h->io.data;
}

static void add(_Atomic uint64_t *counter, uint64_t n) {
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- Ends --------------------------------------------------------------------------- */

/* Its place; what it had is another's, or closed. */
static void leave(struct handshake *h) {
    struct worker *w = worker_of(h);
    ev_io_stop(w->loop.ev, &h->io);
    list_remove(&h->age);
    list_remove(&h->ready);
    w->handshakes.n--;
    add(&w->lane.counters.connections, (uint64_t)-1); /* a connection counts itself */
    pool_free(&w->handshakes.pool, h);
    if (!w->handshakes.held) return;
    w->handshakes.held = false;
    accept_start(&w->handshakes.accept);
}

static void log_failure(const struct handshake *h, enum tls_failure why) {
    if (!log_wants(LOG_DEBUG)) return;
    char ip[ADDRESS_TEXT_MAX];
    address_format(&h->ip, ip);
    struct log_field fields[] = {{.name = "reason", .text = tls_failure_word(why)},
                                 {.name = "ip", .text = ip}};
    log_write(LOG_DEBUG, "TLS handshake failed", fields, 2);
}

/* What it still sends is read, so that it gets the alert that says why. */
static void fail(struct handshake *h, enum tls_failure why) {
    struct worker *w = worker_of(h);
    int fd = h->io.fd;
    add(&w->lane.counters.tls_failed[why], 1);
    log_failure(h, why);
    tls_free(h->tls);
    leave(h);
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < 4; i++)
        if (recv(fd, w->input, WORKER_INPUT_BYTES, MSG_DONTWAIT) <= 0) break;
    close(fd);
}

static void succeed(struct handshake *h) {
    struct worker *w = worker_of(h);
    struct tls *tls = h->tls;
    struct in6_addr ip = h->ip;
    int fd = h->io.fd;
    add(&w->lane.counters.tls_handshakes, 1);
    if (tls_is_resumed(tls)) add(&w->lane.counters.tls_resumed, 1);
    leave(h);
    conn_go_on(conn_new_secure(w, fd, &ip, tls));
}

#define PLAIN "this port speaks HTTPS: the address begins with https://"

/* A browser that was pointed at the wrong port, for example: it is told. */
static void answer_plain(struct handshake *h) {
    struct worker *w = worker_of(h);
    struct in6_addr ip = h->ip;
    int fd = h->io.fd;
    add(&w->lane.counters.tls_failed[TLS_FAILED_PLAIN], 1);
    log_failure(h, TLS_FAILED_PLAIN);
    leave(h);
    struct conn *c = conn_new(w, fd, &ip);
    if (output_answer(c, 400, NULL, PLAIN) == 0) conn_finish(c);
    conn_go_on(c);
}

/* ---- Going on ----------------------------------------------------------------------- */

static void wait_for(struct handshake *h, int events) {
    struct worker *w = worker_of(h);
    ev_io_stop(w->loop.ev, &h->io);
    ev_io_set(&h->io, h->io.fd, events);
    ev_io_start(w->loop.ev, &h->io);
}

/* A hello begins with 22, and then there is a session: true. A letter is the method of a
 * request. */
static bool read_first(struct handshake *h) {
    struct worker *w = worker_of(h);
    unsigned char first = 0;
    ssize_t n = recv(h->io.fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);
    bool nothing = n < 0 && (errno == EAGAIN || errno == EINTR);
    if (nothing) wait_for(h, EV_READ);
    else if (n <= 0) fail(h, TLS_FAILED_GONE);
    else if (first >= 'A' && first <= 'Z') answer_plain(h);
    else if (first != 22) fail(h, TLS_FAILED_PROTOCOL);
    else if ((h->tls = tls_server_open(w->hub->tls, h->io.fd))) return true;
    else fail(h, TLS_FAILED_PROTOCOL);
    return false;
}

static void go_on(struct handshake *h) {
    int err = tls_handshake(h->tls);
    if (err == 0) succeed(h);
    else if (err != -EAGAIN) fail(h, tls_failure(h->tls));
    else wait_for(h, tls_wants(h->tls) == TLS_WANTS_WRITE ? EV_WRITE : EV_READ);
}

static void on_ready(struct ev_loop *ev, struct ev_io *io, int events) {
    (void)events;
    struct handshake *h = container_of(io, struct handshake, io);
    ev_io_stop(ev, io);
    list_add(&worker_of(h)->handshakes.ready, &h->ready);
}

bool handshakes_go_on(struct worker *w) {
    ASSERT_OWNER(&w->loop);
    struct list *ready = &w->handshakes.ready;
    if (list_empty(ready)) return false;
    int64_t until = clock_us() + HANDSHAKE_TURN_US;
    do {
        struct handshake *h = container_of(ready->next, struct handshake, ready);
        list_remove(&h->ready);
        if (h->tls || read_first(h)) go_on(h);
    } while (!list_empty(ready) && clock_us() < until);
    return !list_empty(ready);
}

void handshakes_on_tick(struct worker *w) {
    ASSERT_OWNER(&w->loop);
    struct list *all = &w->handshakes.all;
    int64_t limit = handshakes_full(w) ? HANDSHAKE_HURRY_MS : HANDSHAKE_MS;
    while (!list_empty(all)) {
        struct handshake *h = container_of(all->next, struct handshake, age);
        if (w->now_ms - h->began_ms < limit) break;
        fail(h, TLS_FAILED_TIMEOUT);
    }
}

/* ---- Beginning ---------------------------------------------------------------------- */

bool handshakes_full(const struct worker *w) {
    return w->handshakes.n >= HANDSHAKES_MAX;
}

void handshake_begin(struct worker *w, int fd, const struct in6_addr *ip) {
    ASSERT_OWNER(&w->loop);
    struct handshake *h = pool_new(&w->handshakes.pool);
    h->ip = *ip;
    h->began_ms = w->now_ms;
    ev_io_init(&h->io, on_ready, fd, EV_READ);
    h->io.data = w;
    list_add(&w->handshakes.all, &h->age);
    list_init(&h->ready);
    ev_io_start(w->loop.ev, &h->io);
    w->handshakes.n++;
    add(&w->lane.counters.connections, 1);
    if (!handshakes_full(w)) return;
    w->handshakes.held = true;
    accept_hold(&w->handshakes.accept);
}

/* ---- Life --------------------------------------------------------------------------- */

void handshakes_init(struct worker *w) {
    struct handshakes *all = &w->handshakes;
    accept_init(&all->accept, w, -1, false);
    list_init(&all->all);
    list_init(&all->ready);
    pool_init(&all->pool, sizeof(struct handshake));
}

void handshakes_listen(struct worker *w, int fd, bool handed) {
    ASSERT_OWNER(&w->loop);
    accept_init(&w->handshakes.accept, w, fd, false);
    w->handshakes.accept.secure = true;
    w->handshakes.accept.handed = handed;
    accept_start(&w->handshakes.accept);
}

void handshakes_drain(struct worker *w) {
    ASSERT_OWNER(&w->loop);
    w->handshakes.held = false;
    accept_stop(&w->handshakes.accept);
}

void handshakes_deinit(struct worker *w) {
    ASSERT_OWNER(&w->loop);
    handshakes_drain(w);
    struct list *all = &w->handshakes.all;
    while (!list_empty(all))
        fail(container_of(all->next, struct handshake, age), TLS_FAILED_GONE);
    pool_deinit(&w->handshakes.pool);
}
