/* Histograms: how often something was how large, in buckets with fixed bounds.
 *
 * One thread adds, with plain loads and stores; any other may read, and sees each bucket as it
 * is at some moment. Nothing is locked and nothing is ever taken away. */
#ifndef SLUICE_BASE_HISTOGRAM_H
#define SLUICE_BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#define HISTOGRAM_BOUNDS 16

/* Upper bounds, included, in rising order; what is larger than the last is in one more bucket. */
typedef const uint64_t histogram_scale[HISTOGRAM_BOUNDS];

extern histogram_scale histogram_us;     /* 100 us to 10 s */
extern histogram_scale histogram_events; /* 0 to 50,000 */

struct histogram {
    _Atomic uint64_t n[HISTOGRAM_BOUNDS + 1]; /* of each bucket alone */
    _Atomic uint64_t sum;                     /* of all values */
};

/* Add a value n times. [the thread that writes it] */
void histogram_add(struct histogram *h, histogram_scale scale, uint64_t value,
                   uint64_t n);

#endif
