/* From the plain port to that of TLS, when it is wanted. [the worker's thread] */
#ifndef SLUICE_SERVE_IO_REDIRECT_H
#define SLUICE_SERVE_IO_REDIRECT_H

#include "serve/io/conn.h"

/* Whether this request is to be sent there. Not one that came over TLS already, over the Unix
 * socket or over the port for metrics. */
bool redirect_wanted(const struct conn *c, const struct request *r);

/* Queue the answer: 308, so that the method stays. 0 or E_NOMEM. */
int redirect_answer(struct conn *c, const struct request *r, const struct http_to *to);

#endif
