/* Ticks: the moments at which events that wait for a rate or a batch are sent.
 *
 * A clock for every subscriber and key would be unbounded state. Instead each period is
 * one of a few classes, and a class has at most TICK_PHASES phases, which share their
 * moments:
 *
 *     period 500 ms    phase 0  |---------|---------|        offset   0
 *                      phase 3  ...|---------|---------|     offset 117
 *
 * An audience gets the phase whose next moment is no less than one period away, so that a
 * snapshot and the first tick keep the distance too. A phase without users has no offset:
 * its first user's arrival sets it. What has no distance to keep picks phase 0, by time 0.
 * [one thread] */
#ifndef SLUICE_FAN_TICK_H
#define SLUICE_FAN_TICK_H

#include "base/list.h"

#include <stdint.h>

#define TICK_CLASSES 11
#define TICK_PHASES 16

struct tick {
    struct list waiting; /* audiences with something pending, until at_ms */
    uint32_t users;      /* audiences of this phase */
    uint32_t period_ms;
    int64_t offset_ms;
    int64_t at_ms; /* the next moment, while audiences wait */
};

struct ticks {
    struct tick phases[TICK_CLASSES][TICK_PHASES];
    int64_t next_ms; /* the earliest at_ms of those that have waiting audiences */
};

/* The shortest class that is not shorter than a time; 0 for 0 and below. Times above the
 * longest class (60 s) get that one. */
uint32_t tick_period(double ms);

/* The same for a rate: never more events per second than that; 0 for 0 and below. */
uint32_t tick_period_of_rate(double per_second);

void ticks_init(struct ticks *t);

/* The phase for an audience that comes now; period_ms is one of tick_period. NULL for 0. The
 * caller counts itself into 'users'. */
struct tick *ticks_pick(struct ticks *t, uint32_t period_ms, int64_t now_ms);

/* The first moment at or after a time. */
int64_t tick_from(const struct tick *tick, int64_t ms);

/* Wait for the next moment after now. */
void ticks_wait(struct ticks *t, struct tick *tick, struct list *node, int64_t now_ms);

/* One that waited left the list of a tick. */
void ticks_left(struct ticks *t, struct tick *tick);

/* Move all whose moment has come to a list. False when there is none. */
bool ticks_take(struct ticks *t, int64_t now_ms, struct list *due);

/* When the next moment is; INT64_MAX when no audience waits. */
int64_t ticks_next(const struct ticks *t);

#endif
