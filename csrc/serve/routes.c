/* The route snapshot; see routes.h. */
#include "serve/routes.h"

#include "base/mem.h"

#include <stdio.h>

struct routes *routes_new(void) {
    struct routes *r = mem_new(sizeof *r);
    atomic_init(&r->refs, 1);
    return r;
}

struct routes *routes_ref(struct routes *r) {
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

struct static_file *static_file_ref(struct static_file *f) {
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

void static_file_unref(struct static_file *f) {
    if (f && atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) == 1)
        mem_free(f);
}

static struct slice file_key(const struct map_node *node) {
    return container_of(node, const struct static_file, node)->path;
}

static void free_files(struct map *files) {
    for (struct map_node *node; (node = map_next(files, NULL));) {
        map_remove(files, node);
        static_file_unref(container_of(node, struct static_file, node));
    }
    map_deinit(files);
}

static void free_route(struct route *route) {
    mem_free(route->method);
    mem_free(route->pattern);
    mem_free(route->keys_as);
    mem_free(route->types_as);
    mem_free(route->rate_as);
    plan_unref(route->plan);
    free_files(&route->files);
}

void routes_unref(struct routes *r) {
    if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) > 1) return;
    for (size_t i = 0; i < r->n; i++) free_route(&r->all[i]);
    for (size_t i = 0; i < r->n_cors; i++) {
        for (size_t k = 0; k < r->cors[i].policy.n; k++)
            mem_free((char *)r->cors[i].policy.origins[k].p);
        mem_free((struct slice *)r->cors[i].policy.origins);
        mem_free((char *)r->cors[i].policy.max_age.p);
        mem_free(r->cors[i].pattern);
    }
    mem_free(r->cors);
    mem_free(r->all);
    mem_free(r);
}

/* ---- Making ------------------------------------------------------------------------- */

/* An array of our own, one longer, its new place zeroed. */
static void *grow(void *old, size_t n, size_t size) {
    char *all = mem_new((n + 1) * size);
    if (n > 0) memcpy(all, old, n * size);
    mem_free(old);
    return all;
}

struct route *routes_add(struct routes *r, enum route_kind kind, const char *method,
                         const char *pattern, int id) {
    r->all = grow(r->all, r->n, sizeof *r->all);
    struct route *route = &r->all[r->n++];
    route->kind = kind;
    route->method = mem_strndup(method, strlen(method));
    route->pattern = mem_strndup(pattern, strlen(pattern));
    route->id = id;
    route->heartbeat = -1;
    map_init(&route->files, file_key);
    return route;
}

/* FNV-1a: the tag of a file is the same after a restart. */
static uint64_t fingerprint(struct slice body) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < body.n; i++) {
        hash ^= (unsigned char)body.p[i];
        hash *= 0x100000001b3u;
    }
    return hash;
}

static struct slice put(char **at, struct slice from) {
    struct slice to = slice_of(*at, from.n);
    if (from.n > 0) memcpy(*at, from.p, from.n);
    *at += from.n;
    return to;
}

void route_add_file(struct route *route, struct slice path, struct slice type,
                    struct slice body) {
    if (map_get(&route->files, path)) return;
    struct static_file *f = mem_new(sizeof *f + path.n + type.n + body.n);
    atomic_init(&f->refs, 1);
    char *at = (char *)(f + 1);
    f->path = put(&at, path);
    f->type = put(&at, type);
    f->body = put(&at, body);
    snprintf(f->etag, sizeof f->etag, "\"%016llx\"",
             (unsigned long long)fingerprint(body));
    map_add(&route->files, &f->node);
}

static struct slice copy(struct slice s) {
    return slice_of(mem_strndup(s.p, s.n), s.n);
}

void routes_add_cors(struct routes *r, const char *pattern, struct origin_policy policy) {
    r->cors = grow(r->cors, r->n_cors, sizeof *r->cors);
    struct cors_rule *rule = &r->cors[r->n_cors++];
    struct slice *copies = mem_new((policy.n + 1) * sizeof *copies);
    for (size_t i = 0; i < policy.n; i++) copies[i] = copy(policy.origins[i]);
    rule->pattern = mem_strndup(pattern, strlen(pattern));
    rule->policy = policy;
    rule->policy.origins = copies;
    rule->policy.max_age = copy(policy.max_age);
}

/* ---- Finding ------------------------------------------------------------------------ */

static bool method_fits(const struct route *route, struct slice method) {
    if (slice_eq(slice_str(route->method), method)) return true;
    return slice_eq_lit(method, "HEAD") && strcmp(route->method, "GET") == 0;
}

static void allow(struct route_match *m, const char *method) {
    char word[24];
    snprintf(word, sizeof word, "%s", method);
    if (strstr(m->allow, word)) return;
    size_t n = strlen(m->allow);
    snprintf(m->allow + n, sizeof m->allow - n, "%s%s%s", n ? ", " : "", word,
             strcmp(word, "GET") == 0 ? ", HEAD" : "");
}

void routes_find(const struct routes *r, struct slice method, struct slice path,
                 struct route_match *out) {
    out->route = NULL;
    out->file = NULL;
    out->n = 0;
    out->allow[0] = '\0';
    const uint64_t hash = map_hash(path);
    for (size_t i = 0; r && i < r->n; i++) {
        const struct route *route = &r->all[i];
        struct map_node *node = NULL;
        if (route->kind == ROUTE_STATIC) {
            if (!(node = map_get_hashed(&route->files, path, hash))) continue;
        } else if ((out->n = pattern_match(slice_str(route->pattern), path,
                                           out->captures)) < 0) {
            continue;
        }
        if (!method_fits(route, method)) {
            allow(out, route->method);
            continue;
        }
        if (node) {
            out->file = container_of(node, struct static_file, node);
            out->n = 0;
        }
        out->route = route;
        return;
    }
}

const struct origin_policy *routes_cors(const struct routes *r, struct slice path) {
    struct capture captures[PATTERN_CAPTURES_MAX];
    for (size_t i = 0; r && i < r->n_cors; i++)
        if (pattern_match(slice_str(r->cors[i].pattern), path, captures) >= 0)
            return &r->cors[i].policy;
    return NULL;
}
