/* Places and refusals; see admission.h. */
#include "serve/admission.h"

#include "base/planted.h"
#include "serve/hub.h"

static struct slice address_of(const struct request *r) {
    return slice_str(r->ip);
}

static void refused(struct request *r, enum limit which, struct slice who) {
    struct hub *hub = r->lane->hub;
    r->limit = limit_name(which);
    r->most = atomic_load_explicit(&hub->limits.most[which], memory_order_relaxed);
    bool is_proxied =
        !hub->options.trust_proxy && http_field_has(request_fields(r), "x-forwarded-for");
    limits_refused(&hub->limits, which, who, is_proxied);
}

/* ---- Requests ----------------------------------------------------------------------- */

bool admission_ask(struct request *r, int64_t now_ms) {
    const enum limit which = LIMIT_REQUESTS_OF_ADDRESS;
    r->wait_s = limits_ask(&r->lane->hub->limits, which, address_of(r), now_ms);
    if (r->wait_s > 0) refused(r, which, address_of(r));
    return r->wait_s == 0;
}

/* ---- Streams ------------------------------------------------------------------------ */

/* True: it has a place of its address now. */
static bool enter(struct request *r, enum limit which, struct slice who) {
    if (limits_enter(&r->lane->hub->limits, which, who)) return true;
    refused(r, which, who);
    return false;
}

bool admission_enter(struct request *r) {
    bool may = enter(r, LIMIT_STREAMS_OF_ADDRESS, address_of(r));
    atomic_store(&r->has_place, may);
    r->has_no_place = !may;
    return may;
}

void admission_drop(struct request *r) {
    if (!r || !atomic_exchange(&r->has_place, false) || PLANTED(502)) return;
    limits_leave(&r->lane->hub->limits, LIMIT_STREAMS_OF_ADDRESS, address_of(r));
}

enum { OF_ADDRESS = 1, OF_USER = 2 }; /* bits of client->places */

bool admission_take(struct client *c, struct request *r) {
    const char *user = client_user(c);
    if (user) {
        if (!enter(r, LIMIT_STREAMS_OF_USER, slice_str(user))) return false;
        c->places |= OF_USER;
    }
    bool has = (!PLANTED(504) && atomic_exchange(&r->has_place, false)) ||
               enter(r, LIMIT_STREAMS_OF_ADDRESS, address_of(r));
    if (has) c->places |= OF_ADDRESS;
    else admission_leave(c);
    return has;
}

void admission_leave(struct client *c) {
    struct limits *l = &c->lane->hub->limits;
    const char *user = client_user(c);
    if (c->places & OF_ADDRESS)
        limits_leave(l, LIMIT_STREAMS_OF_ADDRESS, slice_str(client_ip(c)));
    if (user && (c->places & OF_USER) && !PLANTED(503))
        limits_leave(l, LIMIT_STREAMS_OF_USER, slice_str(user));
    c->places = 0;
}
