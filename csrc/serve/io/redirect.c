/* Redirects; see redirect.h. */
#include "serve/io/redirect.h"

#include "serve/io/worker.h"

#include <stdio.h>

bool redirect_wanted(const struct conn *c) {
    return conn_worker(c)->hub->redirect_port > 0 && !conn_is_secure(c) && !c->trusted &&
           !c->scraper;
}

/* Without its port; an IPv6 address has colons in its brackets. */
static struct slice without_port(struct slice host) {
    size_t n = host.n;
    while (n > 0 && host.p[n - 1] >= '0' && host.p[n - 1] <= '9') n--;
    return n > 0 && host.p[n - 1] == ':' ? slice_of(host.p, n - 1) : host;
}

/* Behind "scheme://authority" when it begins with that. */
static const char *behind_authority(const char *p, const char *end) {
    const char *colon = *p == '/' ? NULL : memchr(p, ':', (size_t)(end - p));
    if (!colon || end - colon < 3) return p;
    p = colon + 3;
    while (p < end && *p != '/' && *p != '?') p++;
    return p;
}

/* Path and query as they came, from the head: the decoded path would not read the same. */
static struct slice target_of(const struct request *r) {
    const char *p = memchr(r->bytes.p, ' ', r->bytes.n), *end = r->bytes.p + r->bytes.n;
    while (p && p < end && *p == ' ') p++;
    if (!p || p == end) return slice_of("", 0);
    const char *stop = p;
    while (stop<end && * stop> ' ') stop++;
    p = behind_authority(p, stop);
    return slice_of(p, (size_t)(stop - p));
}

int redirect_answer(struct conn *c, const struct request *r, const struct http_to *to) {
    struct slice host = without_port(r->host), target = target_of(r);
    unsigned port = conn_worker(c)->hub->redirect_port;
    bool has_path = target.n > 0 && target.p[0] == '/';
    char colon[8] = "";
    if (port != 443) snprintf(colon, sizeof colon, ":%u", port);
    struct buf text = {0};
    int err = buf_addf(&text, "https://%.*s%s%s%.*s", (int)host.n, host.p, colon,
                       has_path ? "" : "/", (int)target.n, target.p);
    struct http_field location = {slice_str("Location"), buf_slice(&text)};
    if (err == 0)
        err = http_write_answer(&c->talk->out, to, 308,
                                (struct http_fields){&location, 1}, slice_of("", 0));
    buf_free(&text);
    return err;
}
