/* What to ask of another server, checked, and put into a handle of curl. */
#ifndef SLUICE_EDGE_HTTP_ASK_H
#define SLUICE_EDGE_HTTP_ASK_H

#include "base/slice.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

struct mail_ask;
struct http_ask_field {
    struct slice name, value;
};

/* Zeros are "no limit". */
struct http_ask {
    struct slice method, url, body;
    const struct http_ask_field *fields;
    size_t n_fields;
    int64_t timeout_ms; /* for all of it */
    int64_t idle_ms;    /* without a byte, also before the first */
    uint64_t bytes_max; /* of the answer's body */
    bool has_body;
    bool unverified; /* take any certificate */
    bool fresh;      /* on a connection of its own: curl repeats on one that was kept */
    bool connect;    /* open the connection, send nothing: there is no head and no body */
    const struct mail_ask *mail; /* the body is a mail for an SMTP server (edge/mail.h) */
};

/* Whether a URL can be parsed and has one of two schemes: 0, E_INVAL, E_TOOBIG, E_NOMEM. */
int http_ask_check_url(struct slice url, const char *scheme, const char *secure);

/* 0; E_INVAL: not a method, not a URL of http or https; E_BADFIELD: a header field that
 * would break the head; E_TOOBIG: the URL; E_NOMEM. */
int http_ask_check(const struct http_ask *ask);

/* What holds for any transfer: times, sockets, certificates. */
void http_ask_limits(const struct http_ask *ask, CURL *easy);

/* Set it all (copies). '*fields' is the list that curl borrows: free it after the handle.
 * 0 or E_NOMEM. */
int http_ask_apply(const struct http_ask *ask, CURL *easy, struct curl_slist **fields);

#endif
