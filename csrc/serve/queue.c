/* Handing over; see queue.h. */
#include "serve/queue.h"

#include "base/bounds.h"
#include "serve/request.h"
#include "serve/to_app.h"
#include "serve/to_io.h"

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
    to_app_request(r);
}

/* Have 'room' posted when half is taken. The app counts down, then looks at the flag; we
 * set the flag, then look at the count: one of us sees the other. True when it is taken
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

void io_on_room(void *owner, struct message *m) {
    (void)owner;
    struct queue *q = container_of(m, struct queue, room);
    q->asked = false;
    refill(q);
}

void queue_add(struct lane *lane, struct request *r) {
    ASSERT_OWNER(lane->loop);
    struct queue *q = &lane->queue;
    list_add(&q->waiting, &r->waits);
    refill(q);
}

bool queue_withdraw(struct request *r) {
    ASSERT_OWNER(r->lane->loop);
    int queued = REQUEST_QUEUED;
    list_remove(&r->waits);
    return atomic_compare_exchange_strong(&r->state, &queued, REQUEST_CANCELLED);
}

void queue_took(struct lane *lane) {
    ASSERT_OWNER(lane->hub->app);
    struct queue *q = &lane->queue;
    if (atomic_fetch_sub(&q->handed, 1) - 1 > HALF || !atomic_load(&q->wanted)) return;
    if (atomic_exchange(&q->wanted, false)) to_io_room(lane);
}
