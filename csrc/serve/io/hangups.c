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

bool hangups_take(struct worker *w) {
    ASSERT_OWNER(&w->loop);
    if (w->hangups.fd < 0) return false;
    struct epoll_event left[HANGUPS_MAX];
    int n = epoll_wait(w->hangups.fd, left, HANGUPS_MAX, 0);
    for (int i = 0; i < n; i++) conn_hear(left[i].data.ptr);
    return n > 0;
}

static void take_later(struct worker *w) {
    ev_io_stop(w->loop.ev, &w->hangups.ready);
    ev_timer_set(&w->hangups.again, HANGUPS_MS / 1000.0, 0);
    if (!PLANTED(801)) ev_timer_start(w->loop.ev, &w->hangups.again);
}

static void on_ready(struct ev_loop *ev, struct ev_io *io, int events) {
    (void)ev, (void)events;
    struct worker *w = io->data;
    bool some = hangups_take(w);
    if (some && (!limits_any_streams(&w->hub->limits) || PLANTED(802))) take_later(w);
}

static void on_again(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)events;
    struct worker *w = timer->data;
    if (hangups_take(w)) take_later(w);
    else ev_io_start(ev, &w->hangups.ready);
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
