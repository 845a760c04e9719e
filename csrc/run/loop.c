/* libev behind a mailbox; see loop.h. */
#include "run/loop.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/status.h"

#include <sys/epoll.h>

static void wake(void *loop) {
    struct loop *l = loop;
    ev_async_send(l->ev, &l->wake);
}

/* A turn takes a bounded number of messages, fewer when the owner has enough or they take
 * long; what is left is for the next turn, after sockets and timers. (An event that is fed
 * here would still belong to this one.) */
static void take(struct loop *l) {
    int64_t from = clock_ms();
    l->enough = false;
    for (int taken = 0; taken < MAILBOX_TURN_MAX && !l->enough;
         taken += MAILBOX_PART_MAX) {
        if (mailbox_drain(&l->mailbox, MAILBOX_PART_MAX) < MAILBOX_PART_MAX) return;
        if (clock_ms() - from >= MAILBOX_TURN_MS) break;
    }
    ev_async_send(l->ev, &l->wake);
}

static void on_wake(struct ev_loop *ev, struct ev_async *w, int events) {
    (void)ev, (void)events;
    take(w->data);
}

static void on_look(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)ev, (void)events;
    struct loop *l = timer->data;
    mailbox_promise(&l->mailbox, PROMISE_NONE);
    take(l);
}

void loop_look_again(struct loop *loop, enum mailbox_promise promise) {
    ASSERT_OWNER(loop);
    if ((int)promise <= atomic_load(&loop->mailbox.promised)) return;
    int ms = promise == PROMISE_SOON ? LOOK_AGAIN_MS : LOOK_LATER_MS;
    ev_timer_stop(loop->ev, &loop->look);
    ev_timer_set(&loop->look, ms / 1000.0, 0);
    ev_timer_start(loop->ev, &loop->look);
    mailbox_promise(&loop->mailbox, promise);
}

void loop_look(struct loop *loop) {
    ASSERT_OWNER(loop);
    take(loop);
}

int loop_init(struct loop *loop, void *owner) {
    *loop = (struct loop){0};
    if (fault_here()) return E_NOMEM;
    loop->ev = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV | EVFLAG_NOSIGMASK);
    if (!loop->ev) return E_NOMEM;
    mailbox_init(&loop->mailbox, owner);
    ev_async_init(&loop->wake, on_wake);
    loop->wake.data = loop;
    ev_async_start(loop->ev, &loop->wake);
    ev_timer_init(&loop->look, on_look, 0, 0);
    loop->look.data = loop;
    mailbox_attach(&loop->mailbox, wake, loop);
    loop_own(loop);
    return 0;
}

void loop_deinit(struct loop *loop) {
    if (!loop->ev) return;
    mailbox_attach(&loop->mailbox, NULL, NULL);
    mailbox_deinit(&loop->mailbox);
    ev_async_stop(loop->ev, &loop->wake);
    ev_timer_stop(loop->ev, &loop->look);
    ev_loop_destroy(loop->ev);
    loop->ev = NULL;
}

/* libev shows its own descriptor only to a loop that embeds it. */
static int epoll_of(struct loop *l) {
    if (!(ev_backend(l->ev) & ev_embeddable_backends() & EVBACKEND_EPOLL)) return -1;
    struct ev_embed whole;
    ev_embed_init(&whole, NULL, l->ev);
    ev_embed_start(l->ev, &whole);
    int fd = whole.io.fd;
    ev_embed_stop(l->ev, &whole);
    return fd;
}

void loop_let_go(struct loop *loop, int fd) {
    ASSERT_OWNER(loop);
    int epoll = epoll_of(loop);
    if (epoll >= 0) epoll_ctl(epoll, EPOLL_CTL_DEL, fd, &(struct epoll_event){0});
}

void loop_own(struct loop *loop) {
    loop->thread = pthread_self();
}

void loop_run(struct loop *loop) {
    ASSERT_OWNER(loop);
    ev_run(loop->ev, 0);
}

void loop_break(struct loop *loop) {
    ASSERT_OWNER(loop);
    ev_break(loop->ev, EVBREAK_ALL);
}

int64_t loop_now_ms(struct loop *loop) {
    (void)loop;
    return clock_ms();
}
