/* JSON as text (RFC 8259), for what is passed on and not read: whether a text is one value, and a
 * text as a JSON string. */
#ifndef SLUICE_BASE_JSON_CHECK_H
#define SLUICE_BASE_JSON_CHECK_H

#include "base/buf.h"

#include <stdbool.h>

/* Whether a text of valid UTF-8 is one JSON value, no deeper than JSON_DEPTH_MAX. */
bool json_is_value(struct slice text);

/* Append a text of valid UTF-8 as a JSON string. 0 or E_NOMEM. */
int json_add_string(struct buf *b, struct slice text);

#endif
