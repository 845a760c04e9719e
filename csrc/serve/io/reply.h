/* The app's reply to a request: an answer, a file or a stream, or a refusal that a stream
 * says in its own way. [the worker's thread] */
#ifndef SLUICE_SERVE_IO_REPLY_H
#define SLUICE_SERVE_IO_REPLY_H

#include "serve/io/conn.h"

void reply_take(struct conn *c, struct request *r);

#endif
