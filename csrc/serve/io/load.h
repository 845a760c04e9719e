/* Load: how near the server is to its limits, for balancers.
 *
 * Each part is a fraction of a limit that refuses somebody when it is reached: connections, which
 * are closed; descriptors, without which nothing is accepted; requests that wait for the app, which get
 * 503 after a time. Read from counters that the threads have anyway. [any I/O thread] */
#ifndef SLUICE_SERVE_IO_LOAD_H
#define SLUICE_SERVE_IO_LOAD_H

#include "base/buf.h"
#include "serve/hub.h"

struct load {
    double connections, descriptors, requests;
    double worst;      /* of these */
    const char *which; /* ... the name of that part */
};

struct load load_of(const struct hub *hub);

/* Whether more clients should come: not from LOAD_FULL on, and again below LOAD_AGAIN. */
bool load_has_room(struct hub *hub, const struct load *load);

/* The same, and not from the moment on when the stop hooks begin. */
bool load_takes_more(struct hub *hub, const struct load *load);

/* Append it as JSON, or as a weight for HAProxy's agent ("58%"). 0 or E_NOMEM. */
int load_write(struct buf *b, const struct load *load, bool ready, bool as_weight);

#endif
