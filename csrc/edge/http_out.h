/* Outgoing HTTP: requests to other servers, on the loop of the thread that asks.
 *
 * libcurl's multi interface says which sockets and times it waits for; they become ev_io
 * and ev_timer of the loop. What curl brings is put aside and reported when curl has returned,
 * so that a callback may ask, hold and cancel as it likes. A transfer whose owner does not
 * take its bytes leaves them in the kernel. Redirects are not followed: the head says
 * where one leads. http and https only, HTTP/1.1, a connection is used again.
 *
 * Bounds: HTTP_OUT_MAX requests, HTTP_OUT_HEAD_MAX bytes of head, HTTP_OUT_PENDING_MAX
 * bytes untold, and what the request says (bytes, whole time, silence). [owner of the loop] */
#ifndef SLUICE_EDGE_HTTP_OUT_H
#define SLUICE_EDGE_HTTP_OUT_H

#include "edge/http_ask.h"
#include "run/loop.h"

struct http_out;

struct http_out_head {
    int status;
    const struct http_ask_field *fields;
    size_t n_fields;
    const char *location; /* absolute; NULL: the answer leads nowhere else */
};

/* In this order: at most one head, any number of data, one end. Everything is borrowed.
 * After a cancel nothing is reported. */
struct http_out_events {
    void (*on_head)(void *context, uint64_t id, const struct http_out_head *head);
    void (*on_data)(void *context, uint64_t id, struct slice bytes);
    void (*on_end)(void *context, uint64_t id, int err, const char *message);
};

/* Borrows the loop and the events. 0 or E_NOMEM. */
int http_out_new(struct http_out **out, struct loop *loop,
                 const struct http_out_events *events, void *context);
void http_out_free(
    struct http_out *h); /* takes; cuts what is under way, reports nothing */

/* Begin a request (copies). 0; E_INVAL: the URL or method; E_BADFIELD; E_TOOBIG: the URL;
 * E_FULL; E_NOMEM. */
int http_out_request(struct http_out *h, const struct http_ask *ask, uint64_t *id);

/* All three may be called from the callbacks; an id that is gone does no harm.
 * http_out_end ends a request with an error that on_end will report. */
void http_out_cancel(struct http_out *h, uint64_t id);
void http_out_hold(struct http_out *h, uint64_t id, bool held); /* read no more for now */
void http_out_end(struct http_out *h, uint64_t id, int err);

#endif
