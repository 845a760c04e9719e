/* The clocks of the kernel that we use, or the time that a test says it is. */
#include "base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

static atomic_bool held;
static _Atomic int64_t held_us;
static _Atomic double held_wall;

void clock_hold(int64_t monotonic_us, double wall) {
    atomic_store(&held_us, monotonic_us);
    atomic_store(&held_wall, wall);
    atomic_store(&held, true);
}

void clock_release(void) {
    atomic_store(&held, false);
}

static int64_t monotonic_us(clockid_t clock) {
    if (atomic_load_explicit(&held, memory_order_relaxed)) return atomic_load(&held_us);
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_us(void) {
    return monotonic_us(CLOCK_MONOTONIC);
}

int64_t clock_tick_us(void) {
    return monotonic_us(CLOCK_MONOTONIC_COARSE);
}

int64_t clock_ms(void) {
    return clock_us() / 1000;
}

double clock_seconds(void) {
    return (double)clock_us() / 1e6;
}

int64_t clock_boot_ms(void) {
    if (atomic_load_explicit(&held, memory_order_relaxed)) return clock_ms();
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

double clock_wall(void) {
    if (atomic_load_explicit(&held, memory_order_relaxed)) return atomic_load(&held_wall);
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
