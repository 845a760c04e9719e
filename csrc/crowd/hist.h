/* A histogram of times: 64 steps between each power of two, so that a quantile is wrong by
 * less than 1.6 %, in a fixed size whatever comes. [one thread] */
#ifndef SLUICE_CROWD_HIST_H
#define SLUICE_CROWD_HIST_H

#include <stdint.h>

#define HIST_STEPS 64u
#define HIST_BITS 36u /* of a time in microseconds: 19 hours; longer ones count as that */

struct hist {
    uint64_t n, max;
    uint64_t counts[HIST_STEPS * (HIST_BITS - 4)];
};

void hist_add(struct hist *h, uint64_t us);

/* The time that a part of all (0 to 1) do not exceed; 0 when there are none. */
uint64_t hist_quantile(const struct hist *h, double part);

#endif
