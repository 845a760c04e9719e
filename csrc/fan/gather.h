/* The visit: what a stream may be sent now, as one block; see gather.c. [one thread] */
#ifndef SLUICE_FAN_GATHER_H
#define SLUICE_FAN_GATHER_H

#include "fan/stream.h"

/* Gather what it may be sent now and move its place behind that. *out is owned, or NULL
 * when there is nothing. *more says that something is left. 0 or E_NOMEM (nothing
 * moved). */
int stream_gather(struct stream *s, struct block **out, bool *more);

#endif
