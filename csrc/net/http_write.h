/* Response heads, whole answers and the stream head, appended to a struct buf.
 *
 * Every function returns 0, E_NOMEM, or E_BADFIELD / E_INVAL for what an application gave
 * and HTTP forbids; on failure the buffer is as it was. No Server field is ever written.
 * [any thread; a struct http_date belongs to one thread] */
#ifndef SLUICE_NET_HTTP_WRITE_H
#define SLUICE_NET_HTTP_WRITE_H

#include "base/buf.h"
#include "base/slice.h"
#include "net/http_field.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The text of the Date field, made once a second. Zero-initialised it is empty. */
struct http_date {
    int64_t second;
    char text[40]; /* "Sun, 06 Nov 1994 08:49:37 GMT" */
};

/* What the writers need to know of the request and the moment. */
struct http_to {
    struct http_date *date; /* borrows */
    int64_t now;            /* seconds since 1970 */
    int minor;              /* of the request; HTTP_2: without what that has no use for */
    bool keep_alive;        /* shall the connection stay open behind this answer? */
    bool is_head;           /* the request was HEAD: no body follows the head */
    struct http_fields always; /* stand in every answer to it: CORS (borrows) */
};

/* The reason phrase of a status, or "". */
const char *http_reason(int status);

/* The Date of that second (borrows from 'date'). */
const char *http_date_text(struct http_date *date, int64_t now);

/* May an application send this field? E_BADFIELD: the name is no token, the value holds
 * CR, LF, NUL or another control byte, or the field is one that the server writes
 * (Content-Length, Transfer-Encoding, Connection, Keep-Alive, Upgrade, Trailer, TE,
 * Date). */
int http_field_check(struct slice name, struct slice value);

/* A whole answer: head and body. Status 200 to 599 (else E_INVAL). 204 and 304 have
 * neither body nor Content-Length. Without a Content-Type among the fields none is
 * written; a 401 without WWW-Authenticate is given one. */
int http_write_answer(struct buf *b, const struct http_to *to, int status,
                      struct http_fields fields, struct slice body);

#define HTTP_NO_LENGTH SIZE_MAX /* of an answer to HEAD: not known */

/* The head alone, for a body of that length which follows it (or not, after HEAD). */
int http_write_head(struct buf *b, const struct http_to *to, int status,
                    struct http_fields fields, size_t length);

/* What an error answer says. */
struct http_error {
    int status;          /* 400 to 599 */
    const char *code;    /* NULL: that of the status */
    const char *message; /* NULL: that of the status; any bytes */
    const char *field;   /* NULL: none */
};

/* The answer {"error":{"code":...,"message":...,"field":...}}. Never cached. */
int http_write_error(struct buf *b, const struct http_to *to, const struct http_error *e,
                     struct http_fields fields);

/* The stable code of a status that the HTTP layer answers itself ("EMETHOD" for 405). */
const char *http_error_code(int status);

/* The head of an event stream. The fields of the caller stand before Date. HTTP/1.1: chunked; HTTP/1.0: Connection: close. */
int http_write_stream(struct buf *b, const struct http_to *to, struct http_fields fields);

/* "HTTP/1.1 100 Continue". */
int http_write_continue(struct buf *b);

#endif
