/* The life of a request object; see request.h. */
#include "serve/request.h"

#include "base/mem.h"
#include "net/address.h"
#include "serve/client.h"

struct request *request_new(void) {
    struct request *r = mem_new(sizeof *r);
    atomic_init(&r->refs, 1);
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
    mem_free(r->chunks);
    mem_free(r->fields);
    mem_free(r->path);
    mem_free(r);
}

struct http_fields request_fields(const struct request *r) {
    return (struct http_fields){r->fields, r->n_fields};
}

void request_take_forwarded(struct request *r) {
    struct http_list list = http_list_of(request_fields(r), "x-forwarded-for");
    struct slice last = slice_of(NULL, 0);
    struct in6_addr address;
    while (http_list_next(&list, &last)) continue;
    if (last.p && address_read(last, &address)) address_format(&address, r->ip);
}

size_t request_cors(const struct request *r, struct http_field out[ORIGIN_FIELDS_MAX]) {
    struct http_head head = {.n_fields = r->n_fields};
    const struct origin_policy *policy =
        routes_cors(r->routes, slice_of(r->path, r->path_n));
    if (!policy) return 0;
    memcpy(head.fields, r->fields, r->n_fields * sizeof *r->fields);
    return origin_fields(policy, &head, out);
}
