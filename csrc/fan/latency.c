/* Noting and counting; see latency.h. */
#include "fan/latency.h"

#include "base/clock.h"

void latency_note(struct latency *l, int64_t at_us) {
    if (!l->into || at_us == 0) return;
    if (l->n > 0 && l->noted[l->n - 1].at_us == at_us) {
        l->noted[l->n - 1].streams++;
        return;
    }
    if (l->n == RING_BATCH) latency_settle(l, clock_us());
    l->noted[l->n].at_us = at_us;
    l->noted[l->n++].streams = 1;
}

void latency_settle(struct latency *l, int64_t now_us) {
    for (uint32_t i = 0; i < l->n; i++) {
        int64_t us = now_us - l->noted[i].at_us;
        histogram_add(l->into, histogram_us, us > 0 ? (uint64_t)us : 0,
                      l->noted[i].streams);
    }
    l->n = 0;
}
