/* Slots of intrusive lists; see wheel.h. */
#include "run/wheel.h"

static struct list *slot(struct wheel *w, int64_t tick) {
    return &w->slots[tick & (WHEEL_SLOTS - 1)];
}

void wheel_init(struct wheel *w, int64_t now_ms) {
    for (int i = 0; i < WHEEL_SLOTS; i++) list_init(&w->slots[i]);
    w->tick = now_ms / WHEEL_TICK_MS;
}

void wheel_timer_init(struct wheel_timer *t) {
    list_init(&t->node);
    t->at_ms = 0;
}

void wheel_set(struct wheel *w, struct wheel_timer *t, int64_t at_ms) {
    int64_t tick = at_ms / WHEEL_TICK_MS + 1; /* never early */
    int64_t last = w->tick + WHEEL_SLOTS - 1;
    if (tick < w->tick) tick = w->tick;
    if (tick > last) tick = last;
    t->at_ms = at_ms;
    list_remove(&t->node);
    list_add(slot(w, tick), &t->node);
}

void wheel_cancel(struct wheel_timer *t) {
    list_remove(&t->node);
}

int64_t wheel_next(const struct wheel *w) {
    for (int64_t tick = w->tick; tick < w->tick + WHEEL_SLOTS; tick++)
        if (!list_empty(&w->slots[tick & (WHEEL_SLOTS - 1)])) return tick * WHEEL_TICK_MS;
    return INT64_MAX;
}

void wheel_advance(struct wheel *w, int64_t now_ms,
                   void (*due)(void *owner, struct wheel_timer *t), void *owner) {
    int64_t now = now_ms / WHEEL_TICK_MS;
    if (now - w->tick > WHEEL_SLOTS) w->tick = now - WHEEL_SLOTS; /* after a long pause */
    while (w->tick <= now) {
        struct list turn;
        list_init(&turn);
        list_take_all(&turn, slot(w, w->tick++));
        while (!list_empty(&turn)) {
            struct wheel_timer *t = container_of(turn.next, struct wheel_timer, node);
            list_remove(&t->node);
            if (t->at_ms > now_ms) wheel_set(w, t, t->at_ms); /* beyond one turn */
            else due(owner, t);
        }
    }
}
