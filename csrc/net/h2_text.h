/* Heads of HTTP/2 as the text of HTTP/1.1, and back. What comes is put down field by field and read by
 * the one strict parser (http_parse.h); so nothing may be put down that would read as more than it
 * was: a method is a token, a target has no blank, and no value has the end of a line. [any thread] */
#ifndef SLUICE_NET_H2_TEXT_H
#define SLUICE_NET_H2_TEXT_H

#include "base/buf.h"
#include "base/slice.h"
#include "net/http_field.h"

#include <stdbool.h>

/* A head that is being told. Zero-initialised it is empty. */
struct h2_text {
    struct buf method, target, authority;
    struct buf fields;  /* lines */
    struct buf cookies; /* joined: they come in crumbs (RFC 9113, 8.2.3) */
    bool https;         /* its scheme */
    bool wrong;         /* what may not be put down */
    bool full;          /* more than is read anyway: the rest was dropped */
};

void h2_text_deinit(struct h2_text *t); /* it is empty, and usable */

/* One field. 0 or E_NOMEM. */
int h2_text_add(struct h2_text *t, struct slice name, struct slice value);

/* All of it, as a head (returns owned in *out); it is empty then. 0, E_NOMEM, or E_INVAL for what is no
 * request. */
int h2_text_finish(struct h2_text *t, struct buf *out);

/* ---- Answers ------------------------------------------------------------------------ */

/* Up to and with its empty line: the length of the head that 'text' begins with. */
size_t h2_text_head(struct slice text);

/* The lines of a head; more than there are fields. */
size_t h2_text_lines(struct slice head);

/* Its fields, as many as lines at most, with names in lower case (written there); *status: the three
 * digits. How many. */
size_t h2_text_fields(struct slice head, struct http_field *out, struct slice *status);

#endif
