/* Giving way; see yield.h. */
#include "run/yield.h"

#include "base/bounds.h"
#include "base/clock.h"

#include <time.h>

void yield_now(struct yield *y) {
    static const struct timespec a_moment = {0, YIELD_US * 1000L};
    int64_t now_us = clock_us(), worked_us = now_us - y->since_us;
    if (worked_us < YIELD_EVERY_US) return;
    y->since_us = now_us;
    y->credit_us += worked_us / YIELD_PART;
    if (y->credit_us > YIELD_CREDIT_US) y->credit_us = YIELD_CREDIT_US;
    if (y->credit_us <= 0) return;
    nanosleep(&a_moment, NULL);
    y->since_us = clock_us();
    y->credit_us -= y->since_us - now_us;
}
