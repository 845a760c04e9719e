/* Reading header fields as RFC 9110 defines them: by name in any case, over all their
 * lines (5.2, 5.3), as what their grammar says they are: a list of elements (5.6.1),
 * one value, entity tags (8.8.3), ranges of media types (12.5.1). No caller looks at the
 * text of a field, or at its first line, in any other way.
 *
 * Pure; all slices borrow from the fields. [any thread] */
#ifndef SLUICE_NET_HTTP_FIELD_H
#define SLUICE_NET_HTTP_FIELD_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>

/* What a message is for: 0 or 1, a minor version of HTTP/1, or this. */
#define HTTP_2 2

struct http_field {
    struct slice name;  /* as sent */
    struct slice value; /* without blanks around it; may be empty */
};

/* The field lines of one message, in order, repeated ones apart. */
struct http_fields {
    const struct http_field *p; /* borrows */
    size_t n;
};

/* Does it have a line of this lower-case name? */
bool http_field_has(struct http_fields all, const char *lower);

/* The value of a field that is one value and no list; p is NULL when there is none. Of
 * several lines the first: a request that repeats what the server reads as one value is
 * refused before (http_field_repeated). */
struct slice http_field_value(struct http_fields all, const char *lower);

/* ---- Lists -------------------------------------------------------------------------- */

/* A walk through the elements of a list field. */
struct http_list {
    struct http_fields all;
    const char *lower;
    size_t next;       /* line to look at when 'rest' is used up */
    struct slice rest; /* of the line; p is NULL behind its end */
    bool empties;      /* give empty elements too: false but for the strictest readers */
};

struct http_list http_list_of(struct http_fields all, const char *lower);

/* The same walk through one value. */
struct http_list http_list_in(struct slice value);

/* The next element, without blanks around it; false at the end, with *element as it was. Empty elements are passed
 * over; a comma in a quoted string separates nothing. */
bool http_list_next(struct http_list *list, struct slice *element);

/* Is one of the elements this lower-case token, in any case, with or without an argument
 * ("no-cache", "max-age=0", "chunked;q=1")? */
bool http_field_has_token(struct http_fields all, const char *lower, const char *token);

/* Are all elements this token? True when there are none. */
bool http_field_only_token(struct http_fields all, const char *lower, const char *token);

/* ---- What stands in a value ----------------------------------------------------------- */

/* Is a type ("text/event-stream", lower case) acceptable by Accept? Of the ranges that fit,
 * the most specific decide; q=0 refuses; without a range everything is. What is no range,
 * or has a weight that is none, counts as if it were not there. 0: it is not; else the more, the
 * more it is wanted, and of equals the more closely it is named. */
int http_accepts(struct http_fields all, const char *type);

/* Whether the type itself was named, not a range that it is in. */
static inline bool http_is_named(int accepts) {
    return (accepts & 7) >= 3;
}

/* How much a content coding ("gzip", lower case) is wanted by Accept-Encoding: 1 to 1000; 0: not at
 * all, which holds for what is not named too. "*" stands for those that are not. A weight that
 * is none counts as if the element were not there. */
int http_accepts_coding(struct http_fields all, const char *coding);

/* Does If-Match let the request pass: is it not there, "*", or does it list this tag as it
 * is (a weak one never does)? */
bool http_match(struct http_fields all, struct slice tag);

/* Does If-None-Match name this tag: by "*", or by one that is equal in the weak
 * comparison? What is no tag names nothing. */
bool http_none_match(struct http_fields all, struct slice tag);

/* The type of a Content-Type without its parameters; p is NULL when it is no media type. */
struct slice http_media_type(struct slice value);

/* What follows a scheme ("bearer") in Authorization; p is NULL when another stands there. */
struct slice http_credentials(struct slice value, const char *scheme);

/* Does a field come twice that is read as one value, here or by nearly every app? No two
 * readers agree on which line counts: 400. */
bool http_field_repeated(struct http_fields all);

#endif
