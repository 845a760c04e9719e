/* A socket, a reader, and a ring of what is not answered; see wire.h. */
#include "cluster/wire.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/status.h"
#include "net/sock.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

struct pending {
    uint64_t tag;
    int64_t by_ms;
};

struct wire {
    struct loop *loop;
    const struct wire_calls *calls;
    void *owner;
    int fd; /* -1: by hand */
    struct ev_io io;
    struct ev_timer tick;
    struct wire_tls secret; /* client = NULL: none, or it is begun */
    struct tls *tls;        /* NULL: plain */
    bool reached;           /* the socket is connected; behind TLS's handshake: */
    bool connected, refused;
    bool busy, gone; /* busy: in a call of the owner's, who may free it: gone */
    int64_t ticked_ms, connect_by_ms;
    struct buf out;
    size_t written; /* of 'out' */
    struct resp *resp;
    struct pending pending[WIRE_PENDING_MAX]; /* a ring */
    uint32_t first, n;
    struct wire_stats stats;
    char why[320];
};

#define TLS_ALERT 0x15 /* the first byte of one */
#define HINT_TLS "does it speak TLS on this port? Then write rediss: in place of redis:"

static void release(struct wire *w) {
    tls_free(w->tls);
    mem_free((void *)w->secret.host);
    buf_free(&w->out);
    resp_free(w->resp);
    mem_free(w);
}

void wire_free(struct wire *w) {
    if (!w || w->gone) return;
    ASSERT_OWNER(w->loop);
    ev_io_stop(w->loop->ev, &w->io);
    ev_timer_stop(w->loop->ev, &w->tick);
    if (w->fd >= 0) close(w->fd);
    w->fd = -1;
    w->gone = true;
    if (!w->busy) release(w);
}

/* It must not be used behind this. */
static void end(struct wire *w, const char *why) {
    ev_io_stop(w->loop->ev, &w->io);
    ev_timer_stop(w->loop->ev, &w->tick);
    w->calls->closed(w->owner, w, why);
}

/* Nothing was heard, of a server that may want TLS. */
static bool is_strange(const struct wire *w) {
    return w->connected && !w->tls && w->stats.bytes_in == 0;
}

static void end_by_errno(struct wire *w, int error) {
    if (w->tls && wire_tls_explain(w->tls, w->secret.host, w->why, sizeof w->why)) {
        w->refused = true;
        end(w, w->why);
        return;
    }
    if (is_strange(w) && error == ECONNRESET) {
        end(w, "the server closed the connection: " HINT_TLS);
        return;
    }
    const char *when = w->connected ? "the connection broke" : "no connection";
    snprintf(w->why, sizeof w->why, "%s (%s)", when, status_text(-error));
    end(w, w->why);
}

/* ---- Out -------------------------------------------------------------------------------- */

static void watch(struct wire *w, int events) {
    if (w->io.events == events && ev_is_active(&w->io)) return;
    ev_io_stop(w->loop->ev, &w->io);
    ev_io_set(&w->io, w->fd, events);
    ev_io_start(w->loop->ev, &w->io);
}

/* False: it broke, and the owner knows. */
static bool flush(struct wire *w) {
    while (w->written < w->out.n) {
        struct slice rest = slice_of(w->out.p + w->written, w->out.n - w->written);
        ssize_t n = w->tls ? tls_write(w->tls, rest, slice_of(NULL, 0))
                           : sock_send(w->fd, rest, slice_of(NULL, 0));
        if (n < 0) {
            end_by_errno(w, (int)-n);
            return false;
        }
        if (n == 0) break;
        w->written += (size_t)n;
        w->stats.bytes_out += (uint64_t)n;
    }
    if (w->written == w->out.n) {
        w->written = 0;
        w->out.n = 0;
        if (w->out.cap > RESP_BLOCK_BYTES) buf_free(&w->out);
    }
    watch(w, w->out.n > 0 ? EV_READ | EV_WRITE : EV_READ);
    return true;
}

int wire_send(struct wire *w, uint64_t tag, struct buf *command, uint32_t extra_ms) {
    ASSERT_OWNER(w->loop);
    if (w->n == WIRE_PENDING_MAX || w->out.n - w->written + command->n > WIRE_OUT_MAX)
        return E_BUSY;
    if (w->out.n == 0) {
        struct buf spare = w->out;
        w->out = *command;
        *command = spare;
    } else if (buf_add(&w->out, command->p, command->n) < 0) {
        return E_BUSY;
    }
    buf_free(command);
    w->pending[(w->first + w->n++) % WIRE_PENDING_MAX] =
        (struct pending){tag, clock_ms() + WIRE_ANSWER_MS + extra_ms};
    w->stats.sent++;
    if (w->connected && w->fd >= 0)
        ev_feed_event(w->loop->ev, &w->io, EV_WRITE); /* what follows goes along */
    return 0;
}

/* ---- In --------------------------------------------------------------------------------- */

static const char *why_refused(int err) {
    if (err == E_TOOBIG) return "the server's reply is larger than any that is asked for";
    if (err == E_NOMEM) return "no memory for the server's reply";
    return "what the server says is not Redis' protocol";
}

/* False: the wire is gone, or over. */
static bool deliver(struct wire *w) {
    const struct reply *r;
    int got;
    while ((got = resp_next(w->resp, &r)) > 0) {
        if (w->n == 0) {
            end(w, r->kind == RESP_ERROR ? "the server refuses connections"
                                         : "the server said something unasked");
            return false;
        }
        struct pending p = w->pending[w->first];
        w->first = (w->first + 1) % WIRE_PENDING_MAX;
        w->n--;
        w->stats.received++;
        w->calls->reply(w->owner, w, p.tag, r);
        if (w->gone) return false;
    }
    if (got == 0) return true;
    end(w, why_refused(got));
    return false;
}

/* False: the wire is gone, or over. */
static bool take(struct wire *w, const char *bytes, size_t n) {
    if (!w->tls && w->stats.bytes_in == 0 && bytes[0] == TLS_ALERT) {
        w->refused = true;
        end(w, "it speaks TLS on this port: write rediss: in place of redis:");
        return false;
    }
    w->stats.bytes_in += n;
    int err = resp_feed(w->resp, slice_of(bytes, n));
    if (err == 0) return deliver(w);
    end(w, why_refused(err));
    return false;
}

/* False: as above. */
static bool read_some(struct wire *w) {
    char bytes[RESP_BLOCK_BYTES];
    for (int i = 0; i < WIRE_TURN_READS; i++) {
        ssize_t n = w->tls ? tls_read(w->tls, bytes, sizeof bytes)
                           : sock_read(w->fd, bytes, sizeof bytes);
        if (n == -EAGAIN) return true;
        if (n < 0) {
            end_by_errno(w, (int)-n);
            return false;
        }
        if (n == 0) {
            end(w, is_strange(w) ? "the server closed the connection: " HINT_TLS
                                 : "the server closed the connection");
            return false;
        }
        if (!take(w, bytes, (size_t)n)) return false;
        if (!w->tls && (size_t)n < sizeof bytes) return true;
    }
    return true;
}

/* ---- Connecting -------------------------------------------------------------------------- */

/* False: not yet, or never. */
static bool reach(struct wire *w) {
    int error = 0;
    socklen_t size = sizeof error;
    (void)getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        end_by_errno(w, error);
        return false;
    }
    w->reached = true;
    if (!w->secret.client) return true;
    w->tls = tls_client_open(w->secret.client, w->fd, w->secret.host, slice_of("", 0));
    w->secret.client = NULL;
    if (w->tls) return true;
    end(w, "no memory for TLS");
    return false;
}

/* The same. */
static bool shake_hands(struct wire *w) {
    int err = tls_handshake(w->tls);
    if (err == -EAGAIN) {
        watch(w, tls_wants(w->tls) == TLS_WANTS_WRITE ? EV_WRITE : EV_READ);
    } else if (err < 0) {
        end_by_errno(w, -err);
    }
    return err == 0;
}

static bool connected(struct wire *w) {
    if (!w->reached && !reach(w)) return false;
    if (w->tls && !shake_hands(w)) return false;
    w->connected = true;
    w->calls->opened(w->owner, w);
    return !w->gone;
}

/* A server that wants no more says why before it closes: it is heard first; and where nothing was heard yet, also
 * before a write that would fail then. */
static void on_io(struct ev_loop *ev, struct ev_io *io, int events) {
    struct wire *w = io->data;
    (void)ev;
    w->busy = true;
    if (w->connected || connected(w)) {
        bool reads = (events & EV_READ) || w->stats.received == 0;
        if (!reads || read_some(w))
            if (events & EV_WRITE) (void)flush(w);
    }
    w->busy = false;
    if (w->gone) release(w);
}

const char *wire_lacks(const struct wire *w) {
    if (w->connected) return "no answer within 3 s";
    if (!w->reached) return "no connection within 2 s";
    return "no TLS within 2 s: is this its tls-port? Else write redis: in place of "
           "rediss:";
}

static void on_tick(struct ev_loop *ev, struct ev_timer *timer, int events) {
    struct wire *w = timer->data;
    int64_t now = clock_ms();
    bool late = now - w->ticked_ms > 2 * WIRE_TICK_MS;
    (void)ev, (void)events;
    w->ticked_ms = now;
    if (late) return;
    w->busy = true;
    bool is_late = w->connected ? w->n > 0 && now >= w->pending[w->first].by_ms
                                : now >= w->connect_by_ms;
    if (is_late) end(w, wire_lacks(w));
    w->busy = false;
    if (w->gone) release(w);
}

/* ---- Begin ------------------------------------------------------------------------------- */

static int connect_socket(const struct wire_address *a) {
    const struct sockaddr *to = (const struct sockaddr *)&a->address;
    int on = 1;
    int fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    if (to->sa_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, to, a->size) < 0 && errno != EINPROGRESS) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

static struct wire *make(struct loop *loop, const struct wire_calls *calls, void *owner,
                         int fd) {
    struct wire *w = mem_new(sizeof *w);
    w->loop = loop;
    w->calls = calls;
    w->owner = owner;
    w->fd = fd;
    w->resp = resp_new();
    w->ticked_ms = clock_ms();
    w->connect_by_ms = w->ticked_ms + WIRE_CONNECT_MS;
    ev_io_init(&w->io, on_io, fd, EV_WRITE);
    w->io.data = w;
    ev_timer_init(&w->tick, on_tick, WIRE_TICK_MS / 1000.0, WIRE_TICK_MS / 1000.0);
    w->tick.data = w;
    return w;
}

int wire_open(struct wire **out, struct loop *loop, const struct wire_to *to,
              const struct wire_calls *calls, void *owner) {
    ASSERT_OWNER(loop);
    int fd = connect_socket(to->address);
    *out = NULL;
    if (fd < 0) return fd;
    *out = make(loop, calls, owner, fd);
    (*out)->secret = (struct wire_tls){to->tls.client,
                                       mem_strndup(to->tls.host, strlen(to->tls.host))};
    ev_io_start(loop->ev, &(*out)->io);
    ev_timer_start(loop->ev, &(*out)->tick);
    return 0;
}

/* ---- By hand ----------------------------------------------------------------------------- */

int wire_by_hand(struct wire **out, struct loop *loop, const struct wire_calls *calls,
                 void *owner) {
    ASSERT_OWNER(loop);
    *out = make(loop, calls, owner, -1);
    return 0;
}

bool wire_is_open(const struct wire *w) {
    return w->connected;
}

void wire_accept(struct wire *w) {
    w->busy = w->connected = true;
    w->calls->opened(w->owner, w);
    w->busy = false;
    if (w->gone) release(w);
}

void wire_take(struct wire *w, struct buf *out) {
    w->stats.bytes_out += w->out.n;
    (void)buf_add(out, w->out.p, w->out.n);
    w->out.n = 0;
}

void wire_hear(struct wire *w, struct slice bytes) {
    w->busy = true;
    w->stats.bytes_in += bytes.n;
    int err = resp_feed(w->resp, bytes);
    if (err < 0) end(w, why_refused(err));
    else (void)deliver(w);
    w->busy = false;
    if (w->gone) release(w);
}

void wire_cut(struct wire *w, const char *why) {
    w->busy = true;
    end(w, why);
    w->busy = false;
    if (w->gone) release(w);
}

bool wire_is_refused(const struct wire *w) {
    return w->refused;
}

uint32_t wire_pending(const struct wire *w) {
    return w->n;
}

void wire_stats(const struct wire *w, struct wire_stats *out) {
    *out = w->stats;
}
