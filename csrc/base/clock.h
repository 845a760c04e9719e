/* Time. Timers and ages follow the monotonic clock; wall time is for people. */
#ifndef SLUICE_BASE_CLOCK_H
#define SLUICE_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_ms(void);      /* monotonic milliseconds */
int64_t clock_us(void);      /* monotonic microseconds */
int64_t clock_tick_us(void); /* as of the kernel's last tick, up to 10 ms ago: cheaper */
double clock_seconds(void);  /* monotonic seconds */
double clock_wall(void);     /* seconds since 1970 */
int64_t clock_boot_ms(void); /* milliseconds that go on while the machine sleeps */

/* Let all clocks stand at these times until they are set again (for tests that decide
 * what time it is), or go on. For the whole process. */
void clock_hold(int64_t monotonic_us, double wall);
void clock_release(void);

#endif
