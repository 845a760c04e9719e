/* Readers that lost the ring: before a visit (gather.c), streams are notified of what their
 * channels do not hold any more. [one thread] */
#ifndef SLUICE_FAN_SLOW_H
#define SLUICE_FAN_SLOW_H

#include "fan/stream.h"

/* Returns whether some log goes on in the store, which has what its ring lost, or waits to hear
 * from it where to start. */
bool slow_check(struct stream *s);

#endif
