/* Keeping the index; see filtered.h. */
#include "fan/filtered.h"

#include "base/mem.h"
#include "base/status.h"
#include "fan/fan_state.h"

struct interest {
    struct interested *home;
    uint32_t index; /* in home->entries */
};

/* ---- By key of an event ------------------------------------------------------------- */

static struct slice key_of(const struct map_node *node) {
    const struct interested *home = container_of(node, const struct interested, node);
    return slice_of(home->key, home->key_n);
}

static struct interested *interested_get(struct filtered *f, struct slice key) {
    struct map_node *node = map_get(&f->by_key, key);
    if (node) return container_of(node, struct interested, node);
    struct interested *home = mem_try(sizeof *home + key.n + 1);
    if (!home) return NULL;
    if (key.n > 0) memcpy(home->key, key.p, key.n);
    home->key_n = (uint32_t)key.n;
    home->entries = NULL;
    home->n = home->cap = 0;
    map_add(&f->by_key, &home->node);
    return home;
}

static void interested_release(struct filtered *f, struct interested *home) {
    if (home->n > 0) return;
    map_remove(&f->by_key, &home->node);
    mem_free(home->entries);
    mem_free(home);
}

/* The last entry moves to where the one was that goes. */
static void forget_key(struct filtered *f, struct interest interest) {
    struct interested *home = interest.home;
    struct entry moved = home->entries[--home->n];
    home->entries[interest.index] = moved;
    moved.audience->at.indexed->interest[moved.which].index = interest.index;
    interested_release(f, home);
}

static void forget_keys(struct filtered *f, struct indexed *i, uint32_t n) {
    for (uint32_t k = 0; k < n; k++) forget_key(f, i->interest[k]);
    mem_free(i->interest);
    i->interest = NULL;
}

static int index_key(struct filtered *f, struct indexed *i, uint32_t which) {
    const struct filter *filter = i->audience->key.filter;
    struct interested *home = interested_get(f, filter_key(filter, which));
    if (!home) return E_NOMEM;
    if (home->n == home->cap) {
        uint32_t cap = home->cap ? home->cap * 2 : 2;
        struct entry *entries = mem_resize(home->entries, cap * sizeof *entries);
        if (!entries) {
            interested_release(f, home);
            return E_NOMEM;
        }
        home->entries = entries;
        home->cap = cap;
    }
    i->interest[which] = (struct interest){home, home->n};
    home->entries[home->n++] = (struct entry){i->audience, which};
    return 0;
}

static int index_keys(struct filtered *f, struct indexed *i) {
    uint32_t n = filter_n_keys(i->audience->key.filter);
    i->interest = mem_try((n + 1) * sizeof *i->interest);
    if (!i->interest) return E_NOMEM;
    for (uint32_t k = 0; k < n; k++) {
        if (index_key(f, i, k) == 0) continue;
        forget_keys(f, i, k);
        return E_NOMEM;
    }
    return 0;
}

/* ---- By what makes one -------------------------------------------------------------- */

static struct slice bytes_of(const struct audience_key *key) {
    return slice_of((const char *)key, sizeof *key);
}

struct slice filtered_key(const struct map_node *node) {
    return bytes_of(&container_of(node, const struct indexed, node)->audience->key);
}

struct audience *filtered_find(const struct fan *fan, const struct audience_key *key) {
    struct map_node *node = map_get(&fan->filtered, bytes_of(key));
    return node ? container_of(node, struct indexed, node)->audience : NULL;
}

void filtered_hide(struct fan *fan, struct audience *a) {
    map_remove(&fan->filtered, &a->at.indexed->node);
}

void filtered_show(struct fan *fan, struct audience *a) {
    map_add(&fan->filtered, &a->at.indexed->node);
}

/* ---- Both --------------------------------------------------------------------------- */

static struct filtered *get(struct chan *c) {
    if (c->filtered) return c->filtered;
    c->filtered = mem_new(sizeof *c->filtered);
    list_init(&c->filtered->typed);
    list_init(&c->filtered->keyed);
    map_init(&c->filtered->by_key, key_of);
    return c->filtered;
}

static void release(struct chan *c) {
    struct filtered *f = c->filtered;
    if (!list_empty(&f->typed) || !list_empty(&f->keyed)) return;
    map_deinit(&f->by_key);
    mem_free(f);
    c->filtered = NULL;
}

int filtered_add(struct fan *fan, struct audience *a) {
    struct filtered *f = get(a->key.chan);
    struct indexed *i = mem_new(sizeof *i);
    bool keyed = filter_has_keys(a->key.filter);
    a->at.indexed = i;
    i->audience = a;
    if (keyed && index_keys(f, i) < 0) {
        mem_free(i);
        release(a->key.chan);
        return E_NOMEM;
    }
    list_add(keyed ? &f->keyed : &f->typed, &i->in_chan);
    filtered_show(fan, a);
    return 0;
}

void filtered_remove(struct fan *fan, struct audience *a) {
    struct indexed *i = a->at.indexed;
    struct filtered *f = a->key.chan->filtered;
    filtered_hide(fan, a);
    list_remove(&i->in_chan);
    if (i->interest) forget_keys(f, i, filter_n_keys(a->key.filter));
    mem_free(i);
    release(a->key.chan);
}
