/* A count that all threads change all the time and that is seldom read.
 *
 * One atomic number would travel from processor to processor with each change. This one
 * has a part for each thread (threads may share one), in a cache line of its own; only
 * the sum of the parts means something. [any thread] */
#ifndef SLUICE_BASE_COUNT_H
#define SLUICE_BASE_COUNT_H

#include <stdatomic.h>

#define COUNT_PARTS 16
#define COUNT_LINE 64

struct count {
    struct {
        _Alignas(COUNT_LINE) atomic_long n;
    } parts[COUNT_PARTS];
};

/* Which part is the calling thread's. */
unsigned count_part(void);

static inline void count_add(struct count *c, long n) {
    atomic_fetch_add_explicit(&c->parts[count_part()].n, n, memory_order_relaxed);
}

/* The sum; exact while no thread changes it. */
long count_sum(struct count *c);

#endif
