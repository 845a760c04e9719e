/* The critical section of an event; see seq.h. */
#include "fan/seq.h"

#include "base/planted.h"
#include "base/rand.h"
#include "base/status.h"

#include <assert.h>
#include <stdio.h>

void seq_init(struct sequencer *q, const char *epoch, uint64_t head,
              message_fn *on_frame) {
    *q = (struct sequencer){.on_frame = on_frame};
    pthread_mutex_init(&q->lock, NULL);
    if (epoch) snprintf(q->epoch, sizeof q->epoch, "%s", epoch);
    else rand_base32(q->epoch, EPOCH_LENGTH);
    atomic_init(&q->head, head);
}

void seq_deinit(struct sequencer *q) {
    pthread_mutex_destroy(&q->lock);
}

void seq_add_target(struct sequencer *q, struct mailbox *target) {
    assert(q->n < IO_THREADS_MAX);
    q->targets[q->n++] = target;
}

/* The head is stored before the pushes: an id that a client can have seen is never
 * taken for one of the future. */
static void release(struct sequencer *q, struct frame *f) {
    atomic_store_explicit(&q->head, f->seq, memory_order_release);
    frame_refs_add(f, q->n);
    for (unsigned i = 0; i < q->n; i++)
        mailbox_post_event(q->targets[i], &f->posts[i].message, q->on_frame, f->patient);
}

static bool all_have_room(struct sequencer *q) {
    for (unsigned i = 0; i < q->n; i++)
        if (!mailbox_has_room(q->targets[i])) return false;
    return true;
}

/* The newest number that was ever given. */
static uint64_t newest(const struct sequencer *q) {
    uint64_t head = atomic_load_explicit(&q->head, memory_order_relaxed);
    return head > q->spent ? head : q->spent;
}

int seq_publish(struct sequencer *q, struct frame *f) {
    int err = E_BUSY;
    pthread_mutex_lock(&q->lock);
    uint64_t next = newest(q) + 1;
    if (PLANTED(10) && q->group_first) next = q->group_first + q->group_n;
    if (all_have_room(q) &&
        (q->group_first == 0 || next < q->group_first || PLANTED(10))) {
        frame_number(f, q->epoch, next);
        release(q, f);
        err = 0;
    }
    pthread_mutex_unlock(&q->lock);
    return err;
}

void seq_wake(struct sequencer *q) {
    for (unsigned i = 0; i < q->n; i++) mailbox_wake_pending(q->targets[i]);
}

void seq_post(struct sequencer *q, struct message **messages, message_fn *deliver) {
    pthread_mutex_lock(&q->lock);
    for (unsigned i = 0; i < q->n; i++) mailbox_post(q->targets[i], messages[i], deliver);
    pthread_mutex_unlock(&q->lock);
}

int seq_group_open(struct sequencer *q, uint32_t n, uint64_t *first) {
    assert(n > 0);
    int err = E_BUSY;
    pthread_mutex_lock(&q->lock);
    if (q->group_first == 0) {
        q->group_first = newest(q) + GROUP_GAP + 1;
        q->group_n = n;
        *first = q->group_first;
        err = 0;
    }
    pthread_mutex_unlock(&q->lock);
    return err;
}

void seq_group_release(struct sequencer *q, struct frame **frames, uint32_t n) {
    pthread_mutex_lock(&q->lock);
    assert(q->group_first > 0 && n == q->group_n);
    for (uint32_t i = 0; i < n; i++) {
        assert(frames[i]->seq == q->group_first + i);
        release(q, frames[i]);
    }
    q->group_first = 0;
    pthread_mutex_unlock(&q->lock);
    seq_wake(q);
}

void seq_group_abort(struct sequencer *q) {
    pthread_mutex_lock(&q->lock);
    if (!PLANTED(17)) q->spent = q->group_first + q->group_n - 1;
    q->group_first = 0;
    pthread_mutex_unlock(&q->lock);
}
