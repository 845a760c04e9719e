/* From the bytes a connection received to requests: heads, then bodies. What a complete
 * request asks goes to dispatch. [the worker's thread] */
#ifndef SLUICE_SERVE_IO_INPUT_H
#define SLUICE_SERVE_IO_INPUT_H

#include "serve/io/conn.h"

/* How many bytes more it may receive in this phase of the conversation; 0: reading waits
 * until some of what is there was used. */
size_t input_room(const struct conn *c);

/* Use what was received as far as it reaches. False when something may be left, because
 * too much is unsent: to be called again when that is out. */
bool input_parse(struct conn *c);

#endif
