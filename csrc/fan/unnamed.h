/* Events without names, for clients that get only events without one (onmessage of a browser):
 *
 *     event: goal                        data: {"type":"goal","id":"k3f9…-7","data":{"minute":23}}
 *     data: {"minute":23}         ->     id: k3f9…-7
 *     id: k3f9…-7
 *
 * Data that are JSON are there as JSON, others as a string; an event without an id has null. Control
 * events too; comments and retry times stay as they are. */
#ifndef SLUICE_FAN_UNNAMED_H
#define SLUICE_FAN_UNNAMED_H

#include "base/buf.h"
#include "base/slice.h"

/* Append whole events, as this server writes them, without names. 0 or E_NOMEM. */
int unnamed(struct buf *out, struct slice text);

/* Append text as a JSON string, and as what is inside its quotes. 0 or E_NOMEM. */
int unnamed_string(struct buf *out, struct slice text);
int unnamed_escaped(struct buf *out, struct slice text);

#endif
