/* The deadlines of a connection: until when the next byte, the app's answer or the peer's
 * taking must come, and what happens when it does not. A stream's outlet knows its own time.
 * [the worker's thread] */
#ifndef SLUICE_SERVE_IO_DUE_H
#define SLUICE_SERVE_IO_DUE_H

#include "serve/io/conn.h"

/* Set its timer by its state; not for a stream. */
void due_set(struct conn *c);

/* Its time has come, or may have. */
void due_on_timer(struct conn *c);

/* When the app must have begun, or answered, the request that waits for it. */
int64_t due_reply_ms(const struct conn *c);

#endif
