/* From the plain port to that of TLS, when it is wanted. [the worker's thread] */
#ifndef SLUICE_SERVE_IO_REDIRECT_H
#define SLUICE_SERVE_IO_REDIRECT_H

#include "serve/io/conn.h"

/* Whether requests of this connection are to be sent there. Not what came over TLS already, over
 * the Unix socket or over the port for metrics. */
bool redirect_wanted(const struct conn *c);

/* Queue the answer to a request that names its host: 308, so that the method stays. 0 or
 * E_NOMEM. */
int redirect_answer(struct conn *c, const struct request *r, const struct http_to *to);

#endif
