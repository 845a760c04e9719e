/* Classes, phases and what waits; see tick.h. */
#include "fan/tick.h"

static const uint32_t classes[TICK_CLASSES] = {20,   50,   100,   200,   500,  1000,
                                               2000, 5000, 10000, 30000, 60000};

/* With a microsecond of grace: 1000 / (1.0 / 60) need not be a whole minute. */
static uint32_t class_of(double ms) {
    uint32_t i = 0;
    while (i < TICK_CLASSES - 1 && classes[i] + 0.001 < ms) i++;
    return i;
}

uint32_t tick_period(double ms) {
    return ms > 0 ? classes[class_of(ms)] : 0;
}

uint32_t tick_period_of_rate(double per_second) {
    return per_second > 0 ? tick_period(1000 / per_second) : 0;
}

void ticks_init(struct ticks *t) {
    *t = (struct ticks){.next_ms = INT64_MAX};
    for (uint32_t i = 0; i < TICK_CLASSES; i++)
        for (uint32_t k = 0; k < TICK_PHASES; k++) {
            list_init(&t->phases[i][k].waiting);
            t->phases[i][k].period_ms = classes[i];
        }
}

struct tick *ticks_pick(struct ticks *t, uint32_t period_ms, int64_t now_ms) {
    if (period_ms == 0) return NULL;
    int64_t offset = now_ms % period_ms;
    uint32_t phase = (uint32_t)(offset * TICK_PHASES / period_ms);
    struct tick *tick = &t->phases[class_of(period_ms)][phase];
    if (tick->users == 0) tick->offset_ms = offset;
    if (tick->offset_ms >= offset) return tick;
    phase = (phase + 1) % TICK_PHASES; /* that one is just over: the one behind it */
    tick = &t->phases[class_of(period_ms)][phase];
    if (tick->users == 0)
        tick->offset_ms = ((int64_t)phase * period_ms + TICK_PHASES - 1) / TICK_PHASES;
    return tick;
}

int64_t tick_from(const struct tick *tick, int64_t ms) {
    int64_t period = tick->period_ms;
    int64_t rest = (ms - tick->offset_ms) % period;
    if (rest < 0) rest += period;
    return rest == 0 ? ms : ms + period - rest;
}

void ticks_wait(struct ticks *t, struct tick *tick, struct list *node, int64_t now_ms) {
    if (list_empty(&tick->waiting)) {
        tick->at_ms = tick_from(tick, now_ms + 1);
        if (tick->at_ms < t->next_ms) t->next_ms = tick->at_ms;
    }
    list_add(&tick->waiting, node);
}

static void find_next(struct ticks *t) {
    t->next_ms = INT64_MAX;
    for (uint32_t i = 0; i < TICK_CLASSES; i++)
        for (uint32_t k = 0; k < TICK_PHASES; k++) {
            const struct tick *tick = &t->phases[i][k];
            if (!list_empty(&tick->waiting) && tick->at_ms < t->next_ms)
                t->next_ms = tick->at_ms;
        }
}

void ticks_left(struct ticks *t, struct tick *tick) {
    if (list_empty(&tick->waiting) && tick->at_ms == t->next_ms) find_next(t);
}

bool ticks_take(struct ticks *t, int64_t now_ms, struct list *due) {
    if (now_ms < t->next_ms) return false;
    for (uint32_t i = 0; i < TICK_CLASSES; i++)
        for (uint32_t k = 0; k < TICK_PHASES; k++) {
            struct tick *tick = &t->phases[i][k];
            if (list_empty(&tick->waiting) || tick->at_ms > now_ms) continue;
            list_take_all(due, &tick->waiting);
        }
    find_next(t);
    return true;
}

int64_t ticks_next(const struct ticks *t) {
    return t->next_ms;
}
