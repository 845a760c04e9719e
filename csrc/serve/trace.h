/* The trace that a request belongs to (W3C Trace Context): what its line in the log and what is asked of
 * others for it have in common.
 *
 *     traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
 *                     trace                            parent           flags
 *
 * A good one is taken over, with an id of this request as the parent of what follows; else a new
 * one begins. [any thread] */
#ifndef SLUICE_SERVE_TRACE_H
#define SLUICE_SERVE_TRACE_H

#include "net/http_field.h"

#include <stdint.h>

#define TRACE_MAX 56 /* characters, with the NUL */
#define TRACE_ID_AT 3
#define TRACE_ID_LENGTH 32

/* What follows from the fields of a request. 'random': the state of a generator. */
void trace_make(char out[TRACE_MAX], struct http_fields fields, uint64_t *random);

/* Whether a text is a traceparent of a version that is known, or of a later one. */
bool trace_is_good(struct slice text);

#endif
