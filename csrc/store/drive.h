/* The two drivers of the state machine: a thread, or steps. */
#ifndef SLUICE_STORE_DRIVE_H
#define SLUICE_STORE_DRIVE_H

#include <stdbool.h>
#include <stdint.h>

struct store;

/* Wait until the thread has ended. [lock held] */
bool drive_wait(struct store *s, int64_t wait_ms);

/* Without a thread: finish what is queued, whatever a commit is said to take. */
void drive_finish(struct store *s);

#endif
