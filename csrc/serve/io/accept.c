/* Accepting; see accept.h. */
#include "serve/io/accept.h"

#include "base/bounds.h"
#include "base/log.h"
#include "base/status.h"
#include "net/http_write.h"
#include "serve/io/conn.h"
#include "serve/io/handshake.h"
#include "serve/io/hangups.h"
#include "serve/io/listener.h"
#include "serve/io/load.h"
#include "serve/io/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

/* Whether an error concerns one connection only, which is gone with it: Linux reports those
 * of the network here, and what a firewall forbids. */
static bool concerns_one(int error) {
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPERM:
    case EPROTO:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET: return true;
    default: return false;
    }
}

#define NO "no connection can be accepted: "

static const char *explain(int error) {
    switch (error) {
    case EMFILE: return NO "the server is out of file descriptors: raise ulimit -n";
    case ENFILE: return NO "the system is out of file descriptors (fs.file-max)";
    case ENOMEM:
    case ENOBUFS: return NO "the kernel has no memory for it";
    default: return NO "see the error";
    }
}

/* ---- When something is lacking ------------------------------------------------------ */

/* Descriptors are the process's: while one thread gives its reserve to a connection and
 * takes it back, another that accepts would get that number, and the first could answer
 * none any more. */
static pthread_mutex_t taking = PTHREAD_MUTEX_INITIALIZER;

static void open_reserve(struct worker *w) {
    if (w->reserve_fd < 0) w->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void answer_why(struct worker *w, int fd, int error) {
    struct buf b = {0};
    struct http_to to = {.date = &w->date, .now = w->wall_s, .minor = 1};
    struct http_error e = {.status = 503, .message = explain(error)};
    /* What it has asked is read: left unread, it would get an error before our words. */
    shutdown(fd, SHUT_RD);
    while (recv(fd, w->input, WORKER_INPUT_BYTES, MSG_DONTWAIT) > 0) continue;
    if (http_write_error(&b, &to, &e, (struct http_fields){0}) == 0)
        (void)!send(fd, b.p, b.n, MSG_DONTWAIT | MSG_NOSIGNAL);
    buf_free(&b);
}

/* Give the reserve for a moment to a connection that waits. */
static void shed(struct accept *a, int error) {
    struct worker *w = a->worker;
    pthread_mutex_lock(&taking);
    if (w->reserve_fd >= 0) close(w->reserve_fd);
    w->reserve_fd = -1;
    struct in6_addr ip;
    int fd = listener_accept(a->io.fd, &ip);
    if (fd >= 0 && a->trusted) answer_why(w, fd, error);
    if (fd >= 0) close(fd);
    open_reserve(w);
    pthread_mutex_unlock(&taking);
}

static int take_one(struct accept *a, struct in6_addr *ip) {
    pthread_mutex_lock(&taking);
    int fd = listener_accept(a->io.fd, ip);
    pthread_mutex_unlock(&taking);
    return fd;
}

static void log_lack(struct accept *a, const char *message, const char *error) {
    int64_t now = a->worker->now_ms;
    if (a->logged_ms > 0 && now - a->logged_ms < ACCEPT_TELL_MS) return;
    a->logged_ms = now;
    struct log_field fields[] = {{.name = "error", .text = error}};
    log_write(LOG_WARN, message, fields, error != NULL);
}

static void pause_for(struct accept *a, int error) {
    log_lack(a, explain(error), status_text(-error));
    shed(a, error);
    ev_io_stop(a->worker->loop.ev, &a->io);
    ev_timer_set(&a->again, ACCEPT_PAUSE_MS / 1000.0, 0);
    ev_timer_start(a->worker->loop.ev, &a->again);
}

static void on_again(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)ev, (void)events;
    struct accept *a = timer->data;
    open_reserve(a->worker);
    accept_start(a);
}

/* ---- Taking ------------------------------------------------------------------------- */

/* Of all workers: the kernel does not spread connections evenly. */
static bool is_full(const struct hub *hub) {
    return hub_totals(hub).connections >= hub->options.max_connections;
}

/* What it asks is here as a rule. While one that has left is not gone it is read in the next turn. */
static void begin(struct conn *c) {
    if (list_empty(&conn_worker(c)->doomed)) conn_read(c);
    conn_go_on(c);
}

/* A free place; or that of the scraper that has asked for nothing for longest, so that silent
 * connections keep nobody out. NULL: all are being answered. */
static struct conn **place_for_scraper(struct worker *w) {
    struct conn **idlest = NULL;
    for (int i = 0; i < SCRAPERS_MAX; i++) {
        struct conn **at = &w->scraping[i], *c = *at;
        if (!c || c->doomed) return at;
        bool idle = c->phase == CONN_HEAD && conn_unsent(c) == 0;
        if (idle && (!idlest || c->talk->since_ms < (*idlest)->talk->since_ms))
            idlest = at;
    }
    if (idlest) conn_doom(*idlest, END_GONE);
    return idlest;
}

static void admit_scraper(struct worker *w, int fd, const struct in6_addr *ip) {
    struct conn **place = place_for_scraper(w);
    if (!place) {
        close(fd);
        return;
    }
    *place = conn_new(w, fd, ip);
    (*place)->scraper = true;
    atomic_fetch_sub_explicit(&w->lane.counters.connections, 1, memory_order_relaxed);
    begin(*place);
}

void accept_forget(struct worker *w, const struct conn *c) {
    for (int i = 0; i < SCRAPERS_MAX; i++)
        if (w->scraping[i] == c) w->scraping[i] = NULL;
}

/* HAProxy's agent-check: one line, and the end. */
static void tell_agent(struct worker *w, int fd) {
    struct buf line = {0};
    struct load load = load_of(w->hub);
    if (load_write(&line, &load, load_takes_more(w->hub, &load), true) == 0)
        (void)!send(fd, line.p, line.n, MSG_DONTWAIT | MSG_NOSIGNAL);
    buf_free(&line);
    close(fd);
}

/* Over the limit it is closed at once; the operator always gets in. */
static void admit(struct accept *a, int fd, const struct in6_addr *ip) {
    struct worker *w = a->worker;
    if (a->scraper) {
        admit_scraper(w, fd, ip);
        return;
    }
    if (a->agent) {
        tell_agent(w, fd);
        return;
    }
    if (!a->trusted)
        atomic_fetch_add_explicit(&w->lane.counters.accepted, 1, memory_order_relaxed);
    if (!a->trusted && is_full(w->hub)) {
        log_lack(a, "as many connections as --max-connections: more are closed", NULL);
        flight_closed(w, ip);
        close(fd);
    } else if (a->secure) {
        handshake_begin(w, fd, ip);
    } else {
        struct conn *c = conn_new(w, fd, ip);
        c->trusted = a->trusted;
        begin(c);
    }
}

int accept_all(struct accept *a, int max) {
    ASSERT_OWNER(&a->worker->loop);
    if (a->io.fd < 0) return 0; /* a rehearsal has none */
    for (int i = 0; i < max; i++) {
        struct in6_addr ip;
        yield_if_urgent(&a->worker->yield);
        if (a->secure && handshakes_full(a->worker)) return i;
        int fd = take_one(a, &ip);
        if (fd == -EAGAIN) return i;
        if (fd >= 0) {
            hangups_settle(a->worker, NULL);
            admit(a, fd, &ip);
        } else if (!concerns_one(-fd)) {
            pause_for(a, -fd);
            return i;
        }
    }
    return max;
}

static void on_ready(struct ev_loop *ev, struct ev_io *io, int events) {
    (void)ev, (void)events;
    struct accept *a = io->data;
    bool shared =
        a->handed && a->worker->hub->n_lanes > 1; /* an idle thread takes the next */
    int most = shared ? ACCEPT_SHARED_MAX : ACCEPT_TURN_MAX;
    int max = a->likely < most ? a->likely : most;
    a->likely = accept_all(a, max) < max ? 1 : 2 * max;
}

/* ---- Life --------------------------------------------------------------------------- */

void accept_init(struct accept *a, struct worker *w, int fd, bool trusted) {
    *a = (struct accept){.worker = w, .trusted = trusted, .likely = 1};
    ev_io_init(&a->io, on_ready, fd, EV_READ);
    ev_set_priority(&a->io, EV_MINPRI); /* who has left makes room before */
    ev_timer_init(&a->again, on_again, 0, 0);
    a->io.data = a->again.data = a;
}

void accept_start(struct accept *a) {
    ASSERT_OWNER(&a->worker->loop);
    if (a->secure && handshakes_full(a->worker)) return; /* starts it when one ends */
    if (a->io.fd >= 0) ev_io_start(a->worker->loop.ev, &a->io);
}

void accept_hold(struct accept *a) {
    ASSERT_OWNER(&a->worker->loop);
    ev_io_stop(a->worker->loop.ev, &a->io);
}

bool accept_stop(struct accept *a) {
    if (a->io.fd < 0) return false;
    ev_io_stop(a->worker->loop.ev, &a->io);
    ev_timer_stop(a->worker->loop.ev, &a->again);
    close(a->io.fd);
    a->io.fd = -1;
    return true;
}
