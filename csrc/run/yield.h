/* Work that can wait lets others have the processor while something urgent is under way.
 *
 * Where all processors are busy a wake-up alone does not do it: the scheduler mostly lets who
 * computes end its slice of 3 ms first, and the kernel's own threads, through which each write
 * to a disk goes, can wait for many of those. So who does work that can wait sleeps for a
 * moment between pieces of it. sched_yield is not enough: it goes on at once where the thread
 * that waits has had more than its share before, as such a kernel thread often has.
 *
 * That takes a part of its time at most, however long the urgent work lasts; what it has not
 * taken while nothing was urgent it may take then. [one thread] */
#ifndef SLUICE_RUN_YIELD_H
#define SLUICE_RUN_YIELD_H

#include <stdatomic.h>
#include <stdint.h>

struct yield {
    const atomic_uint
        *urgent;       /* how much is under way, by others; NULL: never anything */
    int64_t since_us;  /* when it last got the processor back */
    int64_t credit_us; /* how long it may sleep: YIELD_CREDIT_US at most */
};

void yield_now(struct yield *y);

/* Between two pieces of work. */
static inline void yield_if_urgent(struct yield *y) {
    if (y->urgent && atomic_load_explicit(y->urgent, memory_order_relaxed) > 0)
        yield_now(y);
}

#endif
