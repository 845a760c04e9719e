/* Host allow-list, CORS and cross-site requests. Fetch standard sections 3.2 (CORS) and
 * 2.2.2 (null origins never match), Fetch Metadata. Lists are short and searched in
 * order; nothing is kept. [any thread] */
#include "net/origin.h"

#include "net/http_bytes.h"

#include <string.h>

/* What a page may send beyond the safelisted fields. */
static const char allowed_fields[] =
    "Authorization, Cache-Control, Content-Type, Idempotency-Key, If-None-Match, "
    "Last-Event-ID, X-API-Key, X-Requested-With";
static const char allowed_methods[] = "GET, HEAD, POST, PUT, PATCH, DELETE";

/* ---- Host ------------------------------------------------------------------------- */

/* "name:port" and "name." -> "name"; "[::1]:80" -> "[::1]". */
static struct slice host_name(struct slice host) {
    const char *colon = host.n && host.p[0] != '[' ? memchr(host.p, ':', host.n) : NULL;
    if (colon) host.n = (size_t)(colon - host.p);
    if (host.n > 1 && host.p[host.n - 1] == '.') host.n--;
    return host;
}

/* Four decimal numbers to 255 without leading zeros. */
static bool is_ipv4(struct slice s) {
    unsigned parts = 0;
    for (size_t i = 0; i < s.n; i++, parts++) {
        const size_t start = i;
        unsigned value = 0;
        while (i < s.n && i - start < 4 && http_byte_is(s.p[i], HTTP_DIGIT))
            value = value * 10 + (unsigned)(s.p[i++] - '0');
        if (i == start || value > 255) return false;
        if (i - start > 1 && s.p[start] == '0') return false;
        if (i < s.n && (s.p[i] != '.' || i + 1 == s.n)) return false;
    }
    return parts == 4;
}

static bool host_matches(struct slice name, struct slice allowed) {
    if (slice_eq_lit(allowed, "*")) return true;
    if (allowed.n < 2 || memcmp(allowed.p, "*.", 2) != 0)
        return http_same(name, host_name(allowed));
    const size_t tail = allowed.n - 1; /* with its dot */
    if (name.n <= tail) return false;
    return http_same(slice_of(name.p + name.n - tail, tail),
                     slice_of(allowed.p + 1, tail));
}

bool origin_host_allowed(struct slice host, const struct slice *allowed, size_t n) {
    if (host.n > 0 && host.p[0] == '[') return true;
    const struct slice name = host_name(host);
    if (is_ipv4(name) || http_is(name, "localhost")) return true;
    if (host_matches(name, slice_str("*.localhost"))) return true;
    for (size_t i = 0; i < n; i++)
        if (host_matches(name, allowed[i])) return true;
    return false;
}

/* ---- CORS ------------------------------------------------------------------------- */

static bool names_origin(const struct origin_policy *policy, struct slice origin) {
    for (size_t i = 0; origin.n && i < policy->n; i++)
        if (http_same(policy->origins[i], origin)) return !http_is(origin, "null");
    return false;
}

static bool allows_any(const struct origin_policy *policy) {
    for (size_t i = 0; !policy->credentials && i < policy->n; i++)
        if (slice_eq_lit(policy->origins[i], "*")) return true;
    return false;
}

static struct http_field field(const char *name, const char *value) {
    return (struct http_field){slice_str(name), slice_str(value)};
}

static bool is_preflight(struct slice method, struct http_fields sent) {
    return slice_eq_lit(method, "OPTIONS") && http_field_has(sent, "origin") &&
           http_field_has(sent, "access-control-request-method");
}

/* Whether the page may read. Writes at most three fields. */
static bool write_reader(const struct origin_policy *policy, struct slice origin,
                         struct http_field *out, size_t *n) {
    if (allows_any(policy)) {
        out[(*n)++] = field("Access-Control-Allow-Origin", "*");
        return true;
    }
    if (!names_origin(policy, origin)) return false;
    out[*n] = field("Access-Control-Allow-Origin", "");
    out[(*n)++].value = origin;
    if (policy->credentials)
        out[(*n)++] = field("Access-Control-Allow-Credentials", "true");
    return true;
}

size_t origin_fields(const struct origin_policy *policy, struct slice method,
                     struct http_fields sent, struct http_field out[ORIGIN_FIELDS_MAX]) {
    const bool asks = is_preflight(method, sent);
    size_t n = 0;
    if (!policy) return 0;
    if (!allows_any(policy)) /* also when refused: caches keep that answer too */
        out[n++] = field("Vary", asks ? "Origin, Access-Control-Request-Method, "
                                        "Access-Control-Request-Headers"
                                      : "Origin");
    if (!write_reader(policy, http_field_value(sent, "origin"), out, &n) || !asks)
        return n;
    out[n++] = field("Access-Control-Allow-Methods", allowed_methods);
    out[n++] = field("Access-Control-Allow-Headers", allowed_fields);
    if (policy->max_age.n == 0) return n;
    out[n] = field("Access-Control-Max-Age", "");
    out[n++].value = policy->max_age;
    return n;
}

/* ---- Requests in another user's name ------------------------------------------------ */

/* Does an origin name this Host? A port that is the scheme's own may be left out. */
static bool is_own(struct slice origin, struct slice host, bool secure) {
    const char *slashes = origin.n ? memmem(origin.p, origin.n, "://", 3) : NULL;
    if (!slashes) return false; /* null */
    const size_t scheme = (size_t)(slashes - origin.p);
    const bool is_https = http_is(slice_of(origin.p, scheme), "https");
    if (secure && !is_https) return false;
    const struct slice named = slice_of(slashes + 3, origin.n - scheme - 3);
    return http_same(http_host_of(named, is_https), http_host_of(host, is_https));
}

bool origin_is_foreign(const struct origin_policy *policy, struct slice host,
                       struct http_fields sent, bool secure) {
    const struct slice site = http_field_value(sent, "sec-fetch-site");
    const struct slice origin = http_field_value(sent, "origin");
    if (policy && (names_origin(policy, origin) || (origin.p && allows_any(policy))))
        return false;
    if (slice_eq_lit(site, "same-origin") || slice_eq_lit(site, "none")) return false;
    if (site.p) return true; /* cross-site, and same-site: a neighbour is not the house */
    return origin.p && !is_own(origin, host, secure);
}
