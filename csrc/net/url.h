/* Paths and queries of request targets: decoded once, segment by segment, into a buffer
 * of the caller. RFC 3986 sections 2.1 and 5.2.4; the form rules of WHATWG URL for
 * queries. No allocation. [any thread] */
#ifndef SLUICE_NET_URL_H
#define SLUICE_NET_URL_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>

/* Decode a raw path that starts with '/' and resolve its dot segments into 'out', which
 * needs room for raw.n bytes. The length written (at least 1), or -400: a broken escape,
 * %00, or a path that climbs above the root; or -404: an encoded slash or control byte in
 * a segment, which no route takes. A path stays as it is otherwise: "//" and a slash at
 * the end mean something to routes. */
int url_path(struct slice raw, char *out);

/* Decode %XX and, for 'form', '+' into 'out', which needs room for raw.n bytes.
 * The length written, or -400 for a broken escape or %00. */
int url_decode(struct slice raw, bool form, char *out);

struct url_param {
    struct slice name; /* still encoded */
    struct slice value;
};

/* Walk through a query: start with 'rest' = the query and '*count' = 0.
 * 1: 'out' holds the next parameter (borrows); 0: there are no more; -400: more than
 * URL_PARAMS_MAX. Empty ones ("&&") are skipped; repeated names come in order. */
int url_query_next(struct slice *rest, unsigned *count, struct url_param *out);

/* Does the encoded name of a parameter spell 'name'? 1, 0, or -400 when it is broken. */
int url_name_is(struct slice raw, const char *name);

/* 0 when every escape of the query is well formed and the parameters are not too many,
 * else -400. */
int url_query_check(struct slice query);

/* Decode the first parameter of that name into 'out' (room for 'cap' bytes).
 * The length of the value, -404 when there is none, -400 when the query is broken before
 * it or it is itself, -414 when its encoded form is longer than 'cap'. */
int url_query_get(struct slice query, const char *name, char *out, size_t cap);

#endif
