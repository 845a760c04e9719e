/* The bounds, and adding; see histogram.h. */
#include "base/histogram.h"

histogram_scale histogram_us = {100,     250,     500,     1000,    2500,   5000,
                                10000,   25000,   50000,   100000,  250000, 500000,
                                1000000, 2500000, 5000000, 10000000};
histogram_scale histogram_events = {0,   1,   2,    5,    10,   20,    50,    100,
                                    200, 500, 1000, 2000, 5000, 10000, 20000, 50000};

static void raise(_Atomic uint64_t *counter, uint64_t by) {
    uint64_t n = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, n + by, memory_order_relaxed);
}

void histogram_add(struct histogram *h, histogram_scale scale, uint64_t value,
                   uint64_t n) {
    unsigned i = 0;
    while (i < HISTOGRAM_BOUNDS && value > scale[i]) i++;
    raise(&h->n[i], n);
    raise(&h->sum, value * n);
}
