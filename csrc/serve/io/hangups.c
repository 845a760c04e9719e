/* Hang-ups, together; see hangups.h. */
#include "serve/io/hangups.h"

#include "base/bounds.h"
#include "base/fault.h"
#include "base/planted.h"
#include "serve/io/conn.h"
#include "serve/io/worker.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

static int take(struct worker *w) {
    if (w->hangups.fd < 0) return 0;
    struct epoll_event left[HANGUPS_MAX];
    int n = epoll_wait(w->hangups.fd, left, HANGUPS_MAX, 0);
    for (int i = 0; i < n; i++) conn_hear(left[i].data.ptr);
    return n;
}

bool hangups_wait(const struct worker *w) {
    return ev_is_active(&w->hangups.again);
}

bool hangups_settle(struct worker *w, const struct conn *who) {
    ASSERT_OWNER(&w->loop);
    if (PLANTED(802)) return true;
    for (int i = 0; i < HANGUPS_SETTLE_MAX && take(w) == HANGUPS_MAX; i++) continue;
    if (who && who->doomed) return false;
    if (w->socks.n == 0) worker_reap(w);
    return true;
}

/* Whether the next ones wait for each other, now that n have left. Behind a full take more are there
 * already: they come in the next turn. Another thread would not know who has left here. */
static bool may_wait(const struct worker *w, int n) {
    return n > 0 && n < HANGUPS_MAX && w->hub->n_lanes == 1;
}

static void take_some(struct worker *w) {
    struct hangups *h = &w->hangups;
    int n = take(w);
    if (!may_wait(w, n)) {
        ev_io_start(w->loop.ev, &h->ready);
        if (PLANTED(803) && n == HANGUPS_MAX) ev_io_stop(w->loop.ev, &h->ready);
        return;
    }
    ev_io_stop(w->loop.ev, &h->ready);
    ev_timer_set(&h->again, HANGUPS_MS / 1000.0, 0);
    if (!PLANTED(801)) ev_timer_start(w->loop.ev, &h->again);
}

static void on_ready(struct ev_loop *ev, struct ev_io *io, int events) {
    (void)ev, (void)events;
    take_some(io->data);
}

static void on_again(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)ev, (void)events;
    take_some(timer->data);
}

bool hangups_add(struct conn *c) {
    struct hangups *h = &conn_worker(c)->hangups;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    c->only_leaves = h->fd >= 0 && epoll_ctl(h->fd, EPOLL_CTL_ADD, c->io.fd, &e) == 0;
    return c->only_leaves;
}

void hangups_remove(struct conn *c) {
    struct hangups *h = &conn_worker(c)->hangups;
    if (!c->only_leaves) return;
    c->only_leaves = false;
    /* not left to its close(): a child that is being started has the descriptor for a moment */
    epoll_ctl(h->fd, EPOLL_CTL_DEL, c->io.fd, NULL);
}

int hangups_init(struct worker *w) {
    struct hangups *h = &w->hangups;
    h->fd = -1;
    if (w->hub->options.rehearsal) return 0; /* it goes by steps, and a step takes all */
    h->fd = fault_here() ? -1 : epoll_create1(EPOLL_CLOEXEC);
    if (h->fd < 0) return -errno;
    ev_io_init(&h->ready, on_ready, h->fd, EV_READ);
    ev_timer_init(&h->again, on_again, 0, 0);
    h->ready.data = h->again.data = w;
    ev_io_start(w->loop.ev, &h->ready);
    return 0;
}

void hangups_deinit(struct worker *w) {
    struct hangups *h = &w->hangups;
    if (h->fd < 0) return;
    ev_io_stop(w->loop.ev, &h->ready);
    ev_timer_stop(w->loop.ev, &h->again);
    close(h->fd);
    h->fd = -1;
}
