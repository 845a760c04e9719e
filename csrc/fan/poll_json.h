/* The answer of a poll as JSON: the same events that its other form has as text.
 *
 *     {"events":[{"id":"k3f9…-7","event":"goal","data":"{\"minute\":23}"}],"state":[],"reset":[],
 *      "cursor":"k3f9…-7","poll":"0.3.…"}
 *
 * Events with an id are in "events"; those without one (values of states, what the app sent to
 * this client alone) in "state"; what was lost in "reset". "hello" and "bye" stand there when they
 * were said. Data are text, as the publisher gave them. */
#ifndef SLUICE_FAN_POLL_JSON_H
#define SLUICE_FAN_POLL_JSON_H

#include "base/buf.h"
#include "base/slice.h"

/* Append the object for whole events as text, as this server writes them. 'cursor': the id that the
 * client keeps when the text has none, 'token': what it brings back; both may be empty: null. 0 or
 * E_NOMEM. */
int poll_json(struct buf *b, struct slice text, struct slice cursor, struct slice token);

#endif
