/* How soon a node reads the feed again. Each event that comes alone wakes all nodes, and waking one costs
 * the server more than the event itself: so who is woken again and again for little waits for more, a
 * millisecond or some, the longer the more nodes there are. [one thread] */
#ifndef SLUICE_CLUSTER_PACE_H
#define SLUICE_CLUSTER_PACE_H

#include "base/bounds.h"

#include <stdbool.h>
#include <stdint.h>

struct pace {
    int64_t since_ms; /* of this window */
    uint32_t reads;   /* in it */
    bool is_woken;    /* so often in the window before it */
};

/* A read brought so many entries: for how long to wait before the next one. */
static inline uint32_t pace_ms(struct pace *p, int64_t now_ms, uint32_t entries,
                               uint32_t nodes) {
    if (now_ms - p->since_ms >= PACE_WINDOW_MS) {
        p->is_woken = p->reads > PACE_WAKES_MAX &&
                      now_ms - p->since_ms < (int64_t)2 * PACE_WINDOW_MS;
        p->since_ms = now_ms;
        p->reads = 0;
    }
    p->reads++;
    if (!p->is_woken || entries >= PACE_ENTRIES) return 0;
    uint32_t ms = nodes / 4;
    return ms < 1 ? 1 : ms > PACE_MOST_MS ? PACE_MOST_MS : ms;
}

#endif
