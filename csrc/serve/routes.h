/* Routes: one immutable snapshot per generation of the app, shared by all threads.
 *
 * The I/O threads look requests up here, so that files and streams with a constant plan
 * are answered without Lua, and so that they know which URLs are streams. The first
 * route that matches method and path wins; the app sorts them. */
#ifndef SLUICE_SERVE_ROUTES_H
#define SLUICE_SERVE_ROUTES_H

#include "base/map.h"
#include "fan/coder.h"
#include "base/pattern.h"
#include "fan/plan.h"
#include "net/origin.h"

enum route_kind { ROUTE_HANDLER, ROUTE_STREAM, ROUTE_STATIC, ROUTE_FEED };

/* Outlives its routes while it is being sent. */
struct static_file {
    atomic_uint refs;
    struct map_node node; /* in route->files; key: the path */
    struct slice path, type, body;
    char etag[20];
};

struct route {
    enum route_kind kind;
    char *method;
    char *pattern;
    int id; /* the app's number for it; static: 0, or the app's guards are asked */
    uint64_t body_max;     /* handlers: of bodies that they take in pieces; 0: in one */
    struct plan *plan;     /* streams, feeds: constant; its channels may be templates */
    double heartbeat;      /* seconds; < 0: the server's */
    bool codings[CODINGS]; /* streams: those that it may be compressed with */
    /* Query parameters that narrow; NULL: "keys", "types", "max_rate". */
    char *keys_as, *types_as, *rate_as;
    struct map files; /* static */
};

struct cors_rule {
    char *pattern;
    struct origin_policy policy;
};

struct routes {
    atomic_uint refs;
    struct route *all;
    size_t n;
    struct cors_rule *cors;
    size_t n_cors;
};

struct routes *routes_new(void); /* owned, one reference */
struct routes *routes_ref(struct routes *r);
void routes_unref(struct routes *r); /* NULL is fine */

struct static_file *static_file_ref(struct static_file *f);
void static_file_unref(struct static_file *f); /* NULL is fine */

/* While a snapshot is being made. All text is copied; the plan is shared. */
struct route *routes_add(struct routes *r, enum route_kind kind, const char *method,
                         const char *pattern, int id);
void route_add_file(struct route *route, struct slice path, struct slice type,
                    struct slice body);
void routes_add_cors(struct routes *r, const char *pattern, struct origin_policy policy);

/* What a path leads to. */
struct route_match {
    const struct route *route; /* NULL: nothing, or another method only */
    struct static_file *file;
    struct capture captures[PATTERN_CAPTURES_MAX];
    int n;
    char allow[96]; /* methods that the path knows; empty: the path is unknown */
};

void routes_find(const struct routes *r, struct slice method, struct slice path,
                 struct route_match *out);

/* NULL: no other origin may read it. */
const struct origin_policy *routes_cors(const struct routes *r, struct slice path);

#endif
