/* The life of a client object; see client.h. */
#include "serve/client.h"

#include "base/mem.h"
#include "base/rand.h"
#include "serve/hub.h"

#include <assert.h>
#include <string.h>

/* A client is made by one thread and may be freed by another: the lock is held for a few
 * instructions, twice in its life. */
static void *new_object(struct hub *hub, size_t size) {
    pthread_mutex_lock(&hub->clients_lock);
    void *object = pools_new(&hub->clients, size);
    pthread_mutex_unlock(&hub->clients_lock);
    return object;
}

static void free_object(struct hub *hub, void *object, size_t size) {
    pthread_mutex_lock(&hub->clients_lock);
    pools_free(&hub->clients, object, size);
    pthread_mutex_unlock(&hub->clients_lock);
}

struct client *client_new(struct lane *lane, const struct client_spec *spec) {
    size_t ip = strlen(spec->ip) + 1, path = strlen(spec->path) + 1;
    size_t user = spec->user ? strlen(spec->user) + 1 : 0;
    size_t size = offsetof(struct client, text) + ip + path + user;
    struct client *c = new_object(lane->hub, size);
    atomic_init(&c->refs, 1);
    rand_base32(c->id, CLIENT_ID_LENGTH);
    memcpy(c->id, lane->hub->mark, strlen(lane->hub->mark));
    c->lane = lane;
    c->route_id = spec->route_id;
    c->written = spec->written;
    c->path_at = (uint8_t)ip;
    memcpy(c->text, spec->ip, ip);
    memcpy(c->text + ip, spec->path, path);
    if (user == 0) return c;
    assert(ip + path <= UINT16_MAX); /* HTTP_HEAD_MAX */
    c->user_at = (uint16_t)(ip + path);
    memcpy(c->text + c->user_at, spec->user, user);
    return c;
}

/* Up to the end of its last text. */
static size_t size_of(const struct client *c) {
    const char *last = c->user_at ? client_user(c) : client_path(c);
    return (size_t)(last + strlen(last) + 1 - (const char *)c);
}

struct client *client_ref(struct client *c) {
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void client_unref(struct client *c) {
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1) return;
    if (c->has_plan) plan_unref(c->topics.plan);
    else if (c->n_topics > CLIENT_FEW_TOPICS) mem_free(c->topics.many);
    free_object(c->lane->hub, c, size_of(c));
}
