/* The cap on what all channels hold together (--memory).
 *
 * The app thread counts what its own fan holds; the other threads hold the same frames.
 * Over the cap the largest histories are halved first, everywhere at one place of the
 * order of events: their floors rise, so a client that missed something gets a reset. When nothing
 * is left to trim the newest work is refused (EFULL). [the app's thread] */
#ifndef SLUICE_SERVE_APP_MEMORY_H
#define SLUICE_SERVE_APP_MEMORY_H

#include "serve/app/server.h"

/* Bytes that one channel holds. */
size_t memory_of(const struct chan *c);

/* A channel held 'before' and was changed since. */
void memory_changed(struct server *s, const struct chan *c, size_t before);

/* Make room under the cap. 0 or E_FULL. */
int memory_check(struct server *s);

/* Count anew, after every channel may have changed. */
void memory_recount(struct server *s);

#endif
