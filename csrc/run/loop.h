/* An event loop, its thread and its mailbox.
 *
 * A loop belongs to the thread that runs it. What needs that says ASSERT_OWNER. libev's
 * default loop is never used (it would reap an application's children), and libev never
 * touches the signal mask. */
#ifndef SLUICE_RUN_LOOP_H
#define SLUICE_RUN_LOOP_H

#include "run/mailbox.h"

#include <assert.h>
#include <ev.h>
#include <pthread.h>

struct loop {
    struct ev_loop *ev;
    struct ev_async wake;
    struct ev_timer look;
    struct mailbox mailbox;
    pthread_t thread; /* the owner: the thread that called loop_own */
    bool enough;      /* set by the owner: no more messages in this turn */
};

#define ASSERT_OWNER(loop) assert(pthread_equal((loop)->thread, pthread_self()))

/* 0 or E_NOMEM. 'owner' is handed to the messages of the mailbox. */
int loop_init(struct loop *loop, void *owner);
void loop_deinit(struct loop *loop); /* drops messages: the mailbox must be empty */

/* The calling thread is the owner from now on. */
void loop_own(struct loop *loop);

/* Run until loop_break. [owner] */
void loop_run(struct loop *loop);
void loop_break(struct loop *loop);

/* Promise the publishers to look at the mailbox again (see mailbox.h). [owner] */
void loop_look_again(struct loop *loop, enum mailbox_promise promise);

/* Look now, for what must not miss this turn. [owner] */
void loop_look(struct loop *loop);

/* A descriptor whose watchers are stopped becomes another thread's. (libev leaves it with the kernel
 * until that tells of it once more: then the other may have closed it, and its number be another's.)
 * [owner] */
void loop_let_go(struct loop *loop, int fd);

/* Milliseconds of the monotonic clock, as of this turn's start. [owner] */
int64_t loop_now_ms(struct loop *loop);

#endif
