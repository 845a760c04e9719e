/* The life of a client object; see client.h. */
#include "serve/client.h"

#include "base/mem.h"
#include "base/rand.h"

#include <string.h>

struct client *client_new(struct worker *worker, const char *ip, const char *path,
                          int route_id) {
    struct client *c = mem_new(sizeof *c);
    atomic_init(&c->refs, 1);
    rand_base32(c->id, CLIENT_ID_LENGTH);
    c->node.key = slice_of(c->id, CLIENT_ID_LENGTH);
    c->worker = worker;
    c->route_id = route_id;
    c->ip = mem_strndup(ip, strlen(ip));
    c->path = mem_strndup(path, strlen(path));
    return c;
}

struct client *client_ref(struct client *c) {
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void client_unref(struct client *c) {
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1) return;
    plan_unref(c->plan);
    mem_free(c->ip);
    mem_free(c->path);
    mem_free(c->user);
    mem_free(c->topics);
    mem_free(c);
}
