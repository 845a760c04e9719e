/* Clients by id and topics by name; see registry.h. */
#include "serve/app/registry.h"

#include "base/mem.h"
#include "serve/app/accounts.h"

#include <assert.h>

static struct slice topic_key(const struct map_node *node) {
    return topic_name(container_of(node, const struct topic, node));
}

static struct slice client_key(const struct map_node *node) {
    return client_id(container_of(node, const struct client, node));
}

void registry_init(struct server *s) {
    map_init(&s->clients, client_key);
    map_init(&s->hidden, client_key);
    map_init(&s->topics, topic_key);
    pools_init(&s->topic_pools);
}

void registry_deinit(struct server *s) {
    map_deinit(&s->clients);
    map_deinit(&s->hidden);
    map_deinit(&s->topics);
    pools_deinit(&s->topic_pools);
}

static struct topic *topic_find(const struct server *s, struct slice name) {
    struct map_node *node = map_get(&s->topics, name);
    return node ? container_of(node, struct topic, node) : NULL;
}

static size_t topic_size(size_t name_n) {
    return offsetof(struct topic, name) + name_n;
}

static struct topic *topic_get(struct server *s, struct slice name) {
    struct topic *t = topic_find(s, name);
    if (t) return t;
    t = pools_new(&s->topic_pools, topic_size(name.n));
    memcpy(t->name, name.p, name.n);
    t->name_n = (uint16_t)name.n;
    map_add(&s->topics, &t->node);
    return t;
}

static void topic_unref(struct server *s, struct topic *t) {
    if (--t->refs > 0) return;
    map_remove(&s->topics, &t->node);
    accounts_release(s, topic_name(t));
    pools_free(&s->topic_pools, t, topic_size(t->name_n));
}

static bool find(struct client *c, struct slice channel, uint32_t *at) {
    struct topic **topics = client_topics(c);
    for (*at = 0; *at < c->n_topics; ++*at)
        if (slice_eq(topic_name(topics[*at]), channel)) return true;
    return false;
}

bool registry_follows(struct client *c, struct slice channel) {
    uint32_t at;
    return find(c, channel, &at);
}

void registry_follow(struct server *s, struct client *c, struct slice channel) {
    ASSERT_OWNER(&s->loop);
    if (registry_follows(c, channel)) return;
    struct topic **topics = client_topics(c), *t = topic_get(s, channel);
    uint32_t n = c->n_topics;
    if (n >= CLIENT_FEW_TOPICS && (n & (n - 1)) == 0) { /* full */
        struct topic **more = mem_new(2 * n * sizeof *more);
        memcpy(more, topics, n * sizeof *more);
        if (n > CLIENT_FEW_TOPICS) mem_free(topics);
        c->topics.many = topics = more;
    }
    t->subscribers++;
    t->refs++;
    topics[n] = t;
    c->n_topics++;
}

static void drop_topic(struct server *s, struct client *c, uint32_t at) {
    struct topic **topics = client_topics(c);
    topic_unref(s, topics[at]);
    topics[at] = topics[--c->n_topics];
    if (c->n_topics != CLIENT_FEW_TOPICS) return;
    memcpy(c->topics.few, topics, sizeof c->topics.few);
    mem_free(topics);
}

bool registry_unfollow(struct server *s, struct client *c, struct slice channel) {
    ASSERT_OWNER(&s->loop);
    uint32_t at;
    if (!find(c, channel, &at)) return false;
    client_topics(c)[at]->subscribers--;
    drop_topic(s, c, at);
    return true;
}

static struct map *clients_of(struct server *s, const struct client *c) {
    return c->hidden ? &s->hidden : &s->clients;
}

void registry_add(struct server *s, struct client *c, const struct plan *plan) {
    ASSERT_OWNER(&s->loop);
    if (c->registered) return;
    c->registered = true;
    client_ref(c);
    map_add(clients_of(s, c), &c->node);
    for (uint32_t i = 0; i < plan->n; i++) registry_follow(s, c, plan->specs[i].channel);
}

void registry_leave(struct server *s, struct client *c) {
    ASSERT_OWNER(&s->loop);
    assert(c->registered);
    for (uint32_t i = 0; i < c->n_topics; i++) client_topics(c)[i]->subscribers--;
    c->registered = false;
    map_remove(clients_of(s, c), &c->node);
    if (!c->hidden) return;
    s->hidden_events += atomic_load(&c->events);
    s->hidden_bytes += atomic_load(&c->bytes);
}

void registry_forget(struct server *s, struct client *c) {
    ASSERT_OWNER(&s->loop);
    assert(!c->registered);
    while (c->n_topics > 0) drop_topic(s, c, c->n_topics - 1u);
    client_unref(c);
}

uint32_t registry_count(const struct server *s, struct slice channel, uint64_t hash) {
    struct map_node *node = map_get_hashed(&s->topics, channel, hash);
    return node ? container_of(node, struct topic, node)->subscribers : 0;
}

uint32_t server_subscribers(const struct server *s, struct slice channel) {
    ASSERT_OWNER(&s->loop);
    return registry_count(s, channel, map_hash(channel));
}

static struct client *look_up(const struct map *clients, struct slice id) {
    struct map_node *node = map_get(clients, id);
    return node ? container_of(node, struct client, node) : NULL;
}

struct client *server_find_client(const struct server *s, struct slice id) {
    ASSERT_OWNER(&s->loop);
    return look_up(&s->clients, id);
}

struct client *server_find_hidden(const struct server *s, struct slice id) {
    ASSERT_OWNER(&s->loop);
    return look_up(&s->hidden, id);
}

struct user_name {
    struct map_node node;
    struct slice name;
};

static struct slice user_key(const struct map_node *node) {
    return container_of(node, const struct user_name, node)->name;
}

uint32_t server_active_users(const struct server *s) {
    ASSERT_OWNER(&s->loop);
    struct map users;
    map_init(&users, user_key);
    struct user_name *all = mem_new((s->clients.n + 1) * sizeof *all);
    size_t n = 0;
    for (struct map_node *node = map_next(&s->clients, NULL); node;
         node = map_next(&s->clients, node)) {
        const struct client *c = container_of(node, struct client, node);
        struct slice name = slice_str(client_user(c) ? client_user(c) : client_ip(c));
        if (map_get(&users, name)) continue;
        all[n].name = name;
        map_add(&users, &all[n++].node);
    }
    map_deinit(&users);
    mem_free(all);
    return (uint32_t)n;
}
