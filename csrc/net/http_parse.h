/* Strict parser of HTTP/1.1 request heads: RFC 9112 where it says MUST or SHOULD, and the
 * strictest reading where proxies disagree (a request that two parsers read in two ways
 * is how requests are smuggled). Pure: no socket, no allocation, no state between
 * calls. [any thread] */
#ifndef SLUICE_NET_HTTP_PARSE_H
#define SLUICE_NET_HTTP_PARSE_H

#include "base/bounds.h"
#include "base/slice.h"
#include "net/http_field.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum http_method {
    HTTP_OTHER, /* a method we do not know: status is 501, or 405 for TRACE */
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_OPTIONS
};

enum http_body { HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED };

/* A request head. All slices borrow from the buffer that was parsed. */
struct http_head {
    enum http_method verb;
    struct slice method;     /* as sent */
    struct slice target;     /* as sent */
    struct slice path;       /* still encoded; "*" for OPTIONS * */
    struct slice query;      /* still encoded, without '?'; p is NULL without '?' */
    struct slice host;       /* with port; p is NULL when HTTP/1.0 brought none */
    int minor;               /* 0 for HTTP/1.0, else 1 */
    bool keep_alive;         /* may the connection stay, from the client's side? */
    bool expect_continue;    /* the client waits for 100 before it sends the body */
    enum http_body body;     /* NONE also when Content-Length is 0 */
    uint64_t content_length; /* for HTTP_BODY_LENGTH, at most 2^63-1 */
    int status; /* not 0: answer this; framing is sound, so it may stay open */
    unsigned n_fields;
    struct http_field fields[HTTP_FIELDS_MAX]; /* in order, repeated ones apart */
};

/* Parse the head at the start of p[0..n), of which the first 'seen' bytes were given to
 * an earlier call that answered 0 (0: none were).
 *
 * > 0: the head is complete and takes this many bytes; 'out' is filled (borrows).
 *   0: more bytes are needed; nothing in 'out' means anything.
 * < 0: minus the status to answer before the connection closes: 400, 405 (CONNECT),
 *      414, 431, 501, 505. When path.p is not NULL, the request line and the fields in
 *      'out' were read before that.
 *
 * The answer depends on the bytes only, not on how they were cut, and comes with the
 * first byte that decides it. */
int http_parse_head(const char *p, size_t n, size_t seen, struct http_head *out);

static inline struct http_fields http_head_fields(const struct http_head *head) {
    return (struct http_fields){head->fields, head->n_fields};
}

/* Is this "host" or "host:port"? Names are letters, digits and - . _ ~ only: what else
 * RFC 3986 permits names nothing in DNS, but is what two joined Hosts look like. */
bool http_host_valid(struct slice host);

#endif
