/* The one clock of the benchmark: CLOCK_MONOTONIC, which sluice.now() reads too, so that
 * a stamp of the publisher can be compared in another process. */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_read(clockid_t which) {
    struct timespec ts;
    clock_gettime(which, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline uint64_t clock_ns(void) {
    return clock_read(CLOCK_MONOTONIC);
}

/* CPU time of the calling thread. */
static inline uint64_t clock_cpu_ns(void) {
    return clock_read(CLOCK_THREAD_CPUTIME_ID);
}

/* Sleep until 'due'; returns at once when it has passed. */
static inline void clock_wait(uint64_t due) {
    const struct timespec ts = {.tv_sec = (time_t)(due / 1000000000u),
                                .tv_nsec = (long)(due % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) != 0) {
    }
}

#endif
