/* The life of a request object; see request.h. */
#include "serve/request.h"

#include "base/mem.h"
#include "net/address.h"
#include "net/http_bytes.h"
#include "net/url.h"
#include "serve/client.h"

struct request *request_new(void) {
    struct request *r = mem_new(sizeof *r);
    atomic_init(&r->refs, 1);
    atomic_init(&r->state, REQUEST_QUEUED);
    list_init(&r->waits);
    return r;
}

struct request *request_ref(struct request *r) {
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

void request_unref(struct request *r) {
    if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) > 1) return;
    routes_unref(r->routes);
    buf_free(&r->bytes);
    buf_free(&r->body);
    buf_free(&r->answer);
    plan_unref(r->plan);
    client_unref(r->client);
    client_unref(r->held);
    if (r->upload) buf_free(&r->upload->piece.bytes);
    mem_free(r->upload);
    mem_free(r->chunks);
    mem_free(r->fields);
    mem_free(r->path);
    mem_free(r);
}

bool request_in_pieces(const struct request *r) {
    return r->route && r->route->body_max > 0;
}

bool request_streams(const struct request *r) {
    return r->route && r->route->kind == ROUTE_STREAM && !r->is_head;
}

bool request_opens_client(const struct request *r) {
    char live[4];
    if (r->is_head || r->route->kind != ROUTE_FEED) return !r->is_head;
    int n = url_query_get(r->query, "live", live, sizeof live);
    return n > 0 && slice_eq_lit(slice_of(live, (size_t)n), "sse");
}

struct http_fields request_fields(const struct request *r) {
    return (struct http_fields){r->fields, r->n_fields};
}

struct client *request_client(const struct request *r, const char *user, bool written) {
    return client_new(r->lane, &(struct client_spec){.ip = r->ip,
                                                     .path = r->path,
                                                     .user = user,
                                                     .route_id = r->route->id,
                                                     .written = written});
}

/* Some proxies quote what has a colon in it. */
static struct slice without_quotes(struct slice s) {
    bool quoted = s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"';
    return quoted ? slice_of(s.p + 1, s.n - 2) : s;
}

/* The last of a list, which the proxy itself has added; its p is NULL without one. */
static struct slice last_of(const struct request *r, const char *name) {
    struct http_list list = http_list_of(request_fields(r), name);
    struct slice last = slice_of(NULL, 0);
    while (http_list_next(&list, &last)) continue;
    return last;
}

void request_take_forwarded(struct request *r) {
    struct slice ip = last_of(r, "x-forwarded-for");
    struct slice scheme = last_of(r, "x-forwarded-proto");
    struct in6_addr address;
    if (ip.p && address_read(without_quotes(ip), &address))
        address_format(&address, r->ip);
    if (scheme.p) r->secure = http_is(scheme, "https");
}

void request_find_cors(struct request *r) {
    const struct origin_policy *policy =
        routes_cors(r->routes, slice_of(r->path, r->path_n));
    struct http_fields sent = request_fields(r);
    struct http_field one = {slice_str("Origin"), slice_of(NULL, 0)};
    if (r->is_cut && policy && policy->n == 1 && !http_field_has(sent, "origin")) {
        one.value = policy->origins[0];
        sent = (struct http_fields){&one, 1};
    }
    r->n_cors = origin_fields(policy, r->method, sent, r->cors);
}

static bool asks_for(const struct request *r, const char *name, const char *value) {
    char text[8];
    int n = url_query_get(r->query, name, text, sizeof text);
    return n >= 0 && slice_eq(slice_of(text, (size_t)n), slice_str(value));
}

bool request_find_names(struct request *r) {
    r->unnamed = asks_for(r, "named", "0");
    return r->unnamed || asks_for(r, "named", "1") ||
           url_query_get(r->query, "named", NULL, 0) == -404;
}

bool request_find_form(struct request *r) {
    struct http_fields sent = request_fields(r);
    int text = http_accepts(sent, "text/event-stream");
    int json = http_accepts(sent, "application/json");
    bool may = slice_eq_lit(r->method, "GET") || r->is_head;
    bool asks = asks_for(r, "mode", "poll");
    r->pads = asks_for(r, "padding", "true");
    bool wants_json = asks ? json > text : text == 0 && http_is_named(json);
    r->polls = POLL_NO;
    if (may && wants_json) r->polls = POLL_JSON;
    else if (may && asks && text > 0) r->polls = POLL_TEXT;
    return text > 0 || r->polls;
}

static const char *const coding_names[CODINGS] = {NULL, "gzip", "zstd"};

enum form_id request_plain_form(const struct request *r) {
    enum form_id form = r->unnamed ? FORM_UNNAMED : FORM_CHUNKED;
    return r->minor == 1 ? form : form_without_chunks(form);
}

enum form_id request_form(const struct request *r) {
    enum form_id best = request_plain_form(r);
    int most = 0;
    bool may = r->minor > 0 && !r->unnamed;
    for (enum form_id form = FORM_ZSTD; form >= FORM_GZIP && may; form--) {
        enum coding coding = form_coding(form);
        if (!r->route->codings[coding]) continue;
        int wanted = http_accepts_coding(request_fields(r), coding_names[coding]);
        if (wanted <= most) continue;
        most = wanted;
        best = r->minor == 1 ? form : form_without_chunks(form);
    }
    return best;
}

size_t request_form_fields(const struct request *r, enum form_id form,
                           struct http_field *out) {
    bool varies = false;
    for (enum coding coding = 0; coding < CODINGS; coding++)
        varies = varies || r->route->codings[coding];
    size_t n = 0;
    if (varies)
        out[n++] = (struct http_field){slice_str("Vary"), slice_str("Accept-Encoding")};
    if (form_compresses(form))
        out[n++] = (struct http_field){slice_str("Content-Encoding"),
                                       slice_str(coding_names[form_coding(form)])};
    return n;
}

struct http_to request_to(const struct request *r, struct http_date *date, int64_t now) {
    return (struct http_to){.date = date,
                            .now = now,
                            .minor = r->minor,
                            .keep_alive = r->keep_alive,
                            .is_head = r->is_head,
                            .always = {r->cors, r->n_cors}};
}
