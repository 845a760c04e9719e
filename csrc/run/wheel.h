/* A timer wheel for thousands of deadlines that nearly never come due.
 *
 * Filing a timer is O(1). Moving a deadline later costs nothing: the owner only notes
 * the new time and files the timer again when the old one comes round ("lazy"). Ticks of
 * 100 ms; a deadline beyond one turn of the wheel is filed at its end and looked at
 * there. [one thread] */
#ifndef SLUICE_RUN_WHEEL_H
#define SLUICE_RUN_WHEEL_H

#include "base/list.h"

#include <stdint.h>

#define WHEEL_TICK_MS 100
#define WHEEL_SLOTS 512

struct wheel_timer {
    struct list node;
    int64_t at_ms;
};

struct wheel {
    struct list slots[WHEEL_SLOTS];
    int64_t tick; /* the next tick to look at */
};

void wheel_init(struct wheel *w, int64_t now_ms);
void wheel_timer_init(struct wheel_timer *t);

/* File (or refile) a timer. */
void wheel_set(struct wheel *w, struct wheel_timer *t, int64_t at_ms);
void wheel_cancel(struct wheel_timer *t); /* idempotent */

/* The earliest time something may be due; INT64_MAX: never. */
int64_t wheel_next(const struct wheel *w);

/* Call 'due' for every timer whose time has come; it may set and cancel any. */
void wheel_advance(struct wheel *w, int64_t now_ms,
                   void (*due)(void *owner, struct wheel_timer *t), void *owner);

#endif
