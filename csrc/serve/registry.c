/* Clients by id and topics by name; see registry.h. */
#include "serve/registry.h"

#include "base/mem.h"

static struct topic *topic_find(const struct server *s, struct slice name) {
    struct map_node *node = map_get(&s->topics, name);
    return node ? container_of(node, struct topic, node) : NULL;
}

static struct topic *topic_get(struct server *s, struct slice name) {
    struct topic *t = topic_find(s, name);
    if (t) return t;
    t = mem_new(sizeof *t + name.n + 1);
    memcpy(t->name, name.p, name.n);
    t->node.key = slice_of(t->name, name.n);
    map_add(&s->topics, &t->node);
    return t;
}

static void topic_leave(struct server *s, struct topic *t) {
    if (--t->subscribers > 0) return;
    map_remove(&s->topics, &t->node);
    mem_free(t);
}

bool registry_follows(const struct client *c, struct slice channel) {
    for (uint32_t i = 0; i < c->n_topics; i++)
        if (slice_eq(c->topics[i]->node.key, channel)) return true;
    return false;
}

void registry_follow(struct server *s, struct client *c, struct slice channel) {
    if (registry_follows(c, channel)) return;
    if (c->n_topics == c->cap_topics) { /* at most STREAM_CHANNELS_MAX */
        c->cap_topics = (uint16_t)(c->cap_topics * 2);
        struct topic **topics = mem_new(c->cap_topics * sizeof *topics);
        memcpy(topics, c->topics, c->n_topics * sizeof *topics);
        if (c->topics != c->few) mem_free(c->topics);
        c->topics = topics;
    }
    struct topic *t = topic_get(s, channel);
    t->subscribers++;
    c->topics[c->n_topics++] = t;
}

bool registry_unfollow(struct server *s, struct client *c, struct slice channel) {
    for (uint32_t i = 0; i < c->n_topics; i++) {
        if (!slice_eq(c->topics[i]->node.key, channel)) continue;
        topic_leave(s, c->topics[i]);
        c->topics[i] = c->topics[--c->n_topics];
        return true;
    }
    return false;
}

void registry_add(struct server *s, struct client *c, const struct plan *plan) {
    if (c->registered) return;
    c->registered = true;
    client_ref(c);
    map_add(&s->clients, &c->node);
    for (uint32_t i = 0; i < plan->n; i++) registry_follow(s, c, plan->specs[i].channel);
}

void registry_remove(struct server *s, struct client *c) {
    if (!c->registered) return;
    while (c->n_topics > 0) topic_leave(s, c->topics[--c->n_topics]);
    c->registered = false;
    map_remove(&s->clients, &c->node);
    client_unref(c);
}

uint32_t server_subscribers(const struct server *s, struct slice channel) {
    struct topic *t = topic_find(s, channel);
    return t ? t->subscribers : 0;
}

struct client *server_find_client(const struct server *s, struct slice id) {
    struct map_node *node = map_get(&s->clients, id);
    return node ? container_of(node, struct client, node) : NULL;
}

struct seen {
    struct map_node node;
};

uint32_t server_active_users(const struct server *s) {
    struct map users;
    map_init(&users);
    struct seen *all = mem_new((s->clients.n + 1) * sizeof *all);
    size_t n = 0;
    for (struct map_node *node = map_next(&s->clients, NULL); node;
         node = map_next(&s->clients, node)) {
        const struct client *c = container_of(node, struct client, node);
        struct slice name = slice_str(c->user ? c->user : client_ip(c));
        if (map_get(&users, name)) continue;
        all[n].node.key = name;
        map_add(&users, &all[n++].node);
    }
    map_deinit(&users);
    mem_free(all);
    return (uint32_t)n;
}
