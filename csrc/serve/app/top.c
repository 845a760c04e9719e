/* Rounds; see top.h. */
#include "serve/app/top.h"

#include "base/mem.h"
#include "serve/app/accounts.h"
#include "serve/app/server.h"

#define ROUTES_MOST 65536 /* a route with a higher number is not counted */

/* What a client or a channel was sent. */
struct mark {
    struct map_node node;
    uint64_t before; /* bytes at the last look */
    uint32_t round;  /* of that look */
    uint32_t steps[TOP_STEPS];
    uint8_t name_n;
    char name[];
};

static struct slice name_of(const struct mark *m) {
    return slice_of(m->name, m->name_n);
}

static struct slice mark_key(const struct map_node *node) {
    return name_of(container_of(node, const struct mark, node));
}

struct top *top_new(void) {
    struct top *t = mem_new(sizeof *t);
    map_init(&t->clients.marks, mark_key);
    map_init(&t->channels.marks, mark_key);
    t->phase = TOP_DONE;
    return t;
}

static void free_marks(struct map *marks) {
    for (struct map_node *node; (node = map_next(marks, NULL));) {
        map_remove(marks, node);
        mem_free(container_of(node, struct mark, node));
    }
    map_deinit(marks);
}

void top_free(struct top *t) {
    if (!t) return;
    free_marks(&t->clients.marks);
    free_marks(&t->channels.marks);
    mem_free(t->routes);
    mem_free(t);
}

/* ---- One of them -------------------------------------------------------------------- */

/* NULL: there are too many. */
static struct mark *mark_of(struct map *marks, struct slice name) {
    struct map_node *node = map_get(marks, name);
    if (node) return container_of(node, struct mark, node);
    if (marks->n >= TOP_MARKS_MAX) return NULL;
    struct mark *m = mem_new(offsetof(struct mark, name) + name.n);
    memcpy(m->name, name.p, name.n);
    m->name_n = (uint8_t)name.n;
    map_add(marks, &m->node);
    return m;
}

static uint64_t sum_of(const struct mark *m) {
    uint64_t sum = 0;
    for (int i = 0; i < TOP_STEPS; i++) sum += m->steps[i];
    return sum;
}

/* Put it where it belongs, and let the least go. */
static void rank(struct top_list *list, const struct mark *m) {
    uint64_t bytes = sum_of(m);
    uint32_t at = list->n;
    if (bytes == 0) return;
    while (at > 0 && list->best[at - 1].bytes < bytes) at--;
    if (at == TOP_MAX) return;
    if (list->n < TOP_MAX) list->n++;
    memmove(&list->best[at + 1], &list->best[at],
            (list->n - 1 - at) * sizeof *list->best);
    list->best[at] = (struct top_row){name_of(m), bytes};
}

/* It was sent so many bytes so far. */
static void look(struct top *t, struct top_list *list, struct slice name,
                 uint64_t bytes) {
    struct mark *m = mark_of(&list->marks, name);
    if (!m) list->left_out++;
    if (!m || m->round == t->round)
        return; /* the table has grown, and it is here again */
    uint64_t grown = bytes >= m->before ? bytes - m->before : bytes;
    if (t->round == 1) grown = 0; /* sent before, and nobody knows when */
    m->steps[t->round % TOP_STEPS] = grown < UINT32_MAX ? (uint32_t)grown : UINT32_MAX;
    m->before = bytes;
    m->round = t->round;
}

static void count_route(struct top *t, int id) {
    if (id < 0 || id >= ROUTES_MOST) return;
    uint32_t n = (uint32_t)id + 1;
    if (n > t->n_routes) {
        uint32_t *routes = mem_new(n * sizeof *routes);
        if (t->n_routes > 0) memcpy(routes, t->routes, t->n_routes * sizeof *routes);
        mem_free(t->routes);
        t->routes = routes;
        t->n_routes = n;
    }
    t->routes[id]++;
}

/* ---- A round ------------------------------------------------------------------------ */

void top_begin(struct top *t) {
    t->round++;
    t->phase = TOP_CLIENTS;
    t->bucket = 0;
    t->clients.left_out = t->channels.left_out = 0;
    if (t->n_routes > 0) memset(t->routes, 0, t->n_routes * sizeof *t->routes);
}

static void look_at_client(struct top *t, const struct map_node *node) {
    const struct client *c = container_of(node, const struct client, node);
    look(t, &t->clients, client_id(c),
         atomic_load_explicit(&c->bytes, memory_order_relaxed));
    count_route(t, c->route_id);
}

static void look_at_channel(struct top *t, const struct map_node *node) {
    const struct account *a = container_of(node, const struct account, node);
    look(t, &t->channels, account_key(node), a->counts.delivered_bytes);
}

/* It has gone, or it is ranked. */
static void settle(struct top *t, struct top_list *list, struct map_node *node) {
    struct mark *m = container_of(node, struct mark, node);
    if (m->round == t->round) {
        rank(list, m);
        return;
    }
    map_remove(&list->marks, node);
    mem_free(m);
}

static const struct map *map_of(const struct top *t, const struct server *s) {
    switch (t->phase) {
    case TOP_CLIENTS: return &s->clients;
    case TOP_CHANNELS: return &s->accounts;
    case TOP_FORGET_CLIENTS: return &t->clients.marks;
    default: return &t->channels.marks;
    }
}

static void act_on(struct top *t, struct map_node *node) {
    switch (t->phase) {
    case TOP_CLIENTS: look_at_client(t, node); break;
    case TOP_CHANNELS: look_at_channel(t, node); break;
    case TOP_FORGET_CLIENTS: settle(t, &t->clients, node); break;
    default: settle(t, &t->channels, node); break;
    }
}

/* The lists are made anew at the end of a round. */
static void next_phase(struct top *t) {
    t->phase++;
    t->bucket = 0;
    if (t->phase == TOP_FORGET_CLIENTS) t->clients.n = t->channels.n = 0;
}

bool top_look(struct top *t, const struct server *s, uint32_t most) {
    ASSERT_OWNER(&s->loop);
    for (uint32_t n = 0; t->phase != TOP_DONE && n < most;) {
        const struct map *m = map_of(t, s);
        if (t->bucket >= m->size) {
            next_phase(t);
            continue;
        }
        n++;
        struct map_node *next = m->buckets[t->bucket++];
        for (struct map_node *node; (node = next); n++) {
            next = node->next;
            act_on(t, node);
        }
    }
    return t->phase == TOP_DONE;
}
