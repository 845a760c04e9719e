/* The life of a client object; see client.h. */
#include "serve/client.h"

#include "base/mem.h"
#include "base/rand.h"

#include <string.h>

struct client *client_new(struct lane *lane, const char *ip, const char *path,
                          int route_id) {
    size_t ip_size = strlen(ip) + 1, path_size = strlen(path) + 1;
    struct client *c = mem_new(offsetof(struct client, text) + ip_size + path_size);
    atomic_init(&c->refs, 1);
    rand_base32(c->id, CLIENT_ID_LENGTH);
    c->node.key = slice_of(c->id, CLIENT_ID_LENGTH);
    c->lane = lane;
    c->route_id = route_id;
    memcpy(c->text, ip, ip_size);
    c->path_at = (uint8_t)ip_size;
    memcpy(c->text + ip_size, path, path_size);
    return c;
}

struct client *client_ref(struct client *c) {
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void client_unref(struct client *c) {
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1) return;
    plan_unref(c->plan);
    mem_free(c->user);
    if (c->n_topics > CLIENT_FEW_TOPICS) mem_free(c->topics.many);
    mem_free(c);
}
