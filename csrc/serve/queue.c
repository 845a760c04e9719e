/* Handing over; see queue.h. */
#include "serve/queue.h"

#include "base/bounds.h"
#include "serve/request.h"
#include "serve/app/server.h"
#include "serve/io/worker.h"

#define HALF (REQUESTS_QUEUED_MAX / 2)

void queue_init(struct queue *q) {
    list_init(&q->waiting);
    atomic_init(&q->handed, 0);
    atomic_init(&q->wanted, false);
}

void queue_close(struct queue *q) {
    assert(list_empty(&q->waiting));
    atomic_store(&q->wanted, false);
}

static bool has_room(struct queue *q) {
    return atomic_load_explicit(&q->handed, memory_order_relaxed) < REQUESTS_QUEUED_MAX;
}

static void hand_over(struct queue *q, struct request *r) {
    atomic_fetch_add_explicit(&q->handed, 1, memory_order_relaxed);
    server_post_request(r->worker->server, r);
}

/* Have 'room' posted when half is taken. The app counts down, then looks for the wish; we
 * leave the wish, then look at the count: one of us sees the other. True when it is taken
 * already and nothing was posted. */
static bool must_look_again(struct queue *q) {
    atomic_store(&q->wanted, true);
    q->asked = true;
    if (atomic_load(&q->handed) > HALF || !atomic_exchange(&q->wanted, false))
        return false;
    q->asked = false;
    return true;
}

static void refill(struct queue *q) {
    while (!q->asked && !list_empty(&q->waiting)) {
        while (!list_empty(&q->waiting) && has_room(q)) {
            struct request *r = container_of(q->waiting.next, struct request, waits);
            list_remove(&r->waits);
            hand_over(q, r);
        }
        if (list_empty(&q->waiting) || !must_look_again(q)) return;
    }
}

static void io_on_room(void *owner, struct message *m) {
    (void)owner;
    struct queue *q = container_of(m, struct queue, room);
    q->asked = false;
    refill(q);
}

void queue_add(struct worker *w, struct request *r) {
    struct queue *q = &w->queue;
    list_add(&q->waiting, &r->waits);
    refill(q);
}

bool queue_withdraw(struct request *r) {
    int queued = REQUEST_QUEUED;
    list_remove(&r->waits);
    return atomic_compare_exchange_strong(&r->state, &queued, REQUEST_CANCELLED);
}

void queue_took(struct worker *w) {
    struct queue *q = &w->queue;
    if (atomic_fetch_sub(&q->handed, 1) - 1 > HALF || !atomic_load(&q->wanted)) return;
    if (atomic_exchange(&q->wanted, false))
        mailbox_post(&w->loop.mailbox, &q->room, io_on_room);
}
