/* A rehearsal: the whole server in one thread and on a clock that stands still.
 *
 * For tests of applications: the same parser, channels, cursors, policies and mailboxes,
 * but no listener, no thread and no waiting. A caller dials (gets one end of a socket
 * pair, the server has the other), says what time it is (clock_hold), and lets the server
 * do what is due (rehearsal_step). Equal seeds and equal steps give equal bytes.
 * [the app's thread] */
#ifndef SLUICE_SERVE_APP_REHEARSAL_H
#define SLUICE_SERVE_APP_REHEARSAL_H

#include "serve/app/server.h"

/* Do everything that is due now, until nothing is left to do. False when it did not come
 * to rest after REHEARSAL_ROUNDS_MAX rounds: a handler publishes without end. */
bool rehearsal_step(struct server *s);

/* The monotonic time, in seconds, at which something is due next; < 0: never. */
double rehearsal_next(const struct server *s);

/* A new connection: *fd is the client's end (owned by the caller). 'buffer' bounds what
 * the socket takes unread, in bytes (0: the kernel's default). 0 or a negative errno. */
int rehearsal_dial(struct server *s, int buffer, int *fd);

#endif
