/* Who may ask: the Host allow-list (against DNS rebinding), CORS, and requests that a
 * page of another site makes in a visitor's name. Pure; all slices borrow. [any thread] */
#ifndef SLUICE_NET_ORIGIN_H
#define SLUICE_NET_ORIGIN_H

#include "base/bounds.h"
#include "base/slice.h"
#include "net/http_field.h"

#include <stdbool.h>
#include <stddef.h>

/* Which other origins may read a route. */
struct origin_policy {
    const struct slice *origins; /* "https://app.example", or "*" for any */
    size_t n;
    bool credentials;     /* cookies too: then "*" allows no origin */
    struct slice max_age; /* seconds a preflight may be kept, as text; may be empty */
};

/* May this Host be answered (else 421)? IP addresses and localhost always: no foreign
 * name stands for them in a Host. Names when the list has them: "a.example",
 * "*.a.example" (its subdomains) or "*". A port is ignored, and so is case. */
bool origin_host_allowed(struct slice host, const struct slice *allowed, size_t n);

/* The fields that let the page that asks read the answer, whatever it is, Vary first; for
 * a preflight (OPTIONS with Origin and Access-Control-Request-Method) also what it asks.
 * 'sent' are the request's. Returns how many were written to 'out'; 'policy' may be NULL
 * (0 fields: no CORS unless asked). */
size_t origin_fields(const struct origin_policy *policy, struct slice method,
                     struct http_fields sent, struct http_field out[ORIGIN_FIELDS_MAX]);

/* Was it made by a page of another origin that 'policy' (may be NULL) does not name? Over TLS
 * ('secure') a page that came without is another one; without, a proxy may have had it.
 * Such a request must not change anything (403). Programs send neither Origin nor
 * Sec-Fetch-Site and are not foreign. */
bool origin_is_foreign(const struct origin_policy *policy, struct slice host,
                       struct http_fields sent, bool secure);

#endif
