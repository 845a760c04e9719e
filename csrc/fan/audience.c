/* Members, turns and the index by key; see audience.h. */
#include "fan/audience.h"

#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"
#include "fan/fan_state.h"

#include <assert.h>

/* An audience that named a key, and which of its interests this is. */
struct entry {
    struct audience *audience;
    uint32_t which;
};

/* All audiences that named one key, side by side. */
struct interested {
    struct map_node node;
    struct entry *entries;
    uint32_t n, cap;
    char key[];
};

struct interest {
    struct interested *home;
    uint32_t index; /* in home->entries */
};

/* ---- The index by key --------------------------------------------------------------- */

static struct interested *interested_get(struct chan *c, struct slice key) {
    struct map_node *node = map_get(&c->by_key, key);
    if (node) return container_of(node, struct interested, node);
    struct interested *home = mem_try(sizeof *home + key.n + 1);
    if (!home) return NULL;
    if (key.n > 0) memcpy(home->key, key.p, key.n);
    home->node.key = slice_of(home->key, key.n);
    home->entries = NULL;
    home->n = home->cap = 0;
    map_add(&c->by_key, &home->node);
    return home;
}

static void interested_release(struct chan *c, struct interested *home) {
    if (home->n > 0) return;
    map_remove(&c->by_key, &home->node);
    mem_free(home->entries);
    mem_free(home);
}

/* The last entry moves to where the one was that goes. */
static void forget_key(struct chan *c, struct interest interest) {
    struct interested *home = interest.home;
    struct entry moved = home->entries[--home->n];
    home->entries[interest.index] = moved;
    moved.audience->interest[moved.which].index = interest.index;
    interested_release(c, home);
}

static void forget_keys(struct audience *a, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) forget_key(a->key.chan, a->interest[i]);
    mem_free(a->interest);
    a->interest = NULL;
}

static int index_key(struct audience *a, uint32_t which) {
    struct chan *c = a->key.chan;
    struct interested *home = interested_get(c, filter_key(a->key.filter, which));
    if (!home) return E_NOMEM;
    if (home->n == home->cap) {
        uint32_t cap = home->cap ? home->cap * 2 : 2;
        struct entry *entries = mem_resize(home->entries, cap * sizeof *entries);
        if (!entries) {
            interested_release(c, home);
            return E_NOMEM;
        }
        home->entries = entries;
        home->cap = cap;
    }
    a->interest[which] = (struct interest){home, home->n};
    home->entries[home->n++] = (struct entry){a, which};
    return 0;
}

static int index_keys(struct audience *a) {
    uint32_t n = filter_n_keys(a->key.filter);
    a->interest = mem_try((n + 1) * sizeof *a->interest);
    if (!a->interest) return E_NOMEM;
    for (uint32_t i = 0; i < n; i++) {
        if (index_key(a, i) == 0) continue;
        forget_keys(a, i);
        return E_NOMEM;
    }
    return 0;
}

/* ---- Being there -------------------------------------------------------------------- */

/* The longer of the policy's period and the one asked for. Only a state may leave events
 * out. */
static uint32_t period_of(const struct chan *c, uint64_t asked_ms) {
    uint32_t period = policy_period(&c->policy);
    return c->kind == CHANNEL_STATE && asked_ms > period ? (uint32_t)asked_ms : period;
}

/* The phase of a state keeps its first tick away from the values that it begins with. Logs have theirs
 * at the same moments, so that whoever follows them shares what is gathered. */
static struct tick *pick_tick(struct fan *fan, const struct chan *c, uint32_t period) {
    bool state = c->kind == CHANNEL_STATE;
    return ticks_pick(&fan->ticks, period, state ? fan->now_ms : 0);
}

static struct slice bytes_of(const struct audience_key *key) {
    return slice_of((const char *)key, sizeof *key);
}

static int audience_new(struct fan *fan, const struct audience_key *key,
                        struct audience **out) {
    struct audience *a = mem_try(sizeof *a);
    if (!a) return E_NOMEM;
    struct chan *c = key->chan;
    *a = (struct audience){.key = *key,
                           .last = c->last,
                           .due = c->last,
                           .typed = filter_has_types(key->filter),
                           .cap_subs = 1};
    a->subs = &a->first;
    list_init(&a->turn);
    bool narrow = filter_has_keys(key->filter);
    if (narrow && index_keys(a) < 0) {
        mem_free(a);
        return E_NOMEM;
    }
    list_add(narrow ? &c->narrow : &c->broad, &a->in_chan);
    filter_ref(key->filter);
    if (key->tick) key->tick->users++;
    a->node.key = bytes_of(&a->key);
    map_add(&fan->audiences, &a->node);
    *out = a;
    return 0;
}

/* Room for one more member. */
static int make_room(struct audience *a) {
    if (a->n_subs < a->cap_subs) return 0;
    uint32_t cap = a->cap_subs * 2;
    struct sub **old = a->subs == &a->first ? NULL : a->subs;
    struct sub **subs = mem_resize(old, cap * sizeof *subs);
    if (!subs) return E_NOMEM;
    if (!old) subs[0] = a->first;
    a->subs = subs;
    a->cap_subs = cap;
    return 0;
}

int audience_reserve(struct fan *fan, struct audience_key key, struct audience **out) {
    uint32_t period = period_of(key.chan, key.asked_ms);
    key.tick = pick_tick(fan, key.chan, period);
    struct map_node *node = map_get(&fan->audiences, bytes_of(&key));
    struct audience *a = node ? container_of(node, struct audience, node) : NULL;
    if (!a && audience_new(fan, &key, &a) < 0) return E_NOMEM;
    *out = a;
    int err = make_room(a);
    if (err < 0) audience_release(fan, a);
    return err;
}

static void stop_waiting(struct fan *fan, struct audience *a) {
    if (a->pending) a->key.chan->n_pending--;
    a->pending = 0;
    list_remove(&a->turn);
    if (a->key.tick) ticks_left(&fan->ticks, a->key.tick);
}

void audience_release(struct fan *fan, struct audience *a) {
    if (a->n_subs > 0) return;
    stop_waiting(fan, a);
    cache_clear(&fan->cache); /* they are known by its address */
    map_remove(&fan->audiences, &a->node);
    list_remove(&a->in_chan);
    if (a->interest) forget_keys(a, filter_n_keys(a->key.filter));
    if (a->key.tick) a->key.tick->users--;
    filter_unref(a->key.filter);
    if (a->subs != &a->first) mem_free(a->subs);
    mem_free(a);
}

/* ---- Members ------------------------------------------------------------------------ */

static void put(struct audience *a, uint32_t index, struct sub *sub) {
    a->subs[index] = sub;
    sub->index = index & (INT32_MAX >> 4);
}

static void swap(struct audience *a, uint32_t x, uint32_t y) {
    struct sub *sub = a->subs[x];
    put(a, x, a->subs[y]);
    put(a, y, sub);
}

void audience_add(struct audience *a, struct sub *sub) {
    assert(a->n_subs < a->cap_subs);
    put(a, a->n_subs++, sub);
    sub->audience = a;
    a->key.chan->n_subs++;
    a->key.chan->n_lagging++;
}

/* Two moves: a visited one leaves through the border of the visited, so that the last
 * live one, which may not have been visited yet, never lands among the visited. */
void audience_demote(struct audience *a, struct sub *sub) {
    if (sub->index >= a->n_live) return;
    if (sub->index < a->walk && !PLANTED(1)) swap(a, sub->index, --a->walk);
    swap(a, sub->index, --a->n_live);
    a->key.chan->n_lagging++;
}

void audience_promote(struct audience *a, struct sub *sub) {
    if (sub->index < a->n_live) return;
    swap(a, sub->index, a->n_live++);
    a->key.chan->n_lagging--;
}

void audience_remove(struct audience *a, struct sub *sub) {
    audience_demote(a, sub);
    swap(a, sub->index, --a->n_subs);
    a->subs[a->n_subs] = NULL;
    a->key.chan->n_subs--;
    a->key.chan->n_lagging--;
}

/* ---- Turns -------------------------------------------------------------------------- */

static void begin_turn(struct fan *fan, struct audience *a) {
    a->walk = 0;
    a->again = false;
    a->due = a->last;
    a->wanted_due = a->wanted;
    list_add(&fan->dirty, &a->turn);
}

static void get_turn(struct fan *fan, struct audience *a) {
    if (a->key.tick) ticks_wait(&fan->ticks, a->key.tick, &a->turn, fan->now_ms);
    else begin_turn(fan, a);
}

static void begin_pending(struct fan *fan, struct audience *a, uint64_t seq) {
    a->pending = seq;
    a->wanted_sent = a->wanted - 1;
    a->key.chan->n_pending++;
    get_turn(fan, a);
}

static void add(struct fan *fan, struct audience *a, const struct frame *f) {
    a->last = a->newest = f->seq;
    a->wanted++;
    if (!a->pending)
        begin_pending(fan, a, f->seq); /* else it has its turn, or waits for it */
}

/* Some thousands of audiences are never all in the processor's cache: those to come are
 * fetched while others are marked. */
#define AHEAD 4

static void look_ahead(const struct audience *a) {
    __builtin_prefetch(a, 1);
    __builtin_prefetch((const char *)a + 64, 1);
}

static void add_interested(struct fan *fan, struct chan *c, const struct frame *f) {
    struct map_node *node = map_get_hashed(&c->by_key, f->key, f->key_hash);
    if (!node) return;
    const struct interested *home = container_of(node, struct interested, node);
    for (uint32_t i = 0; i < home->n; i++) {
        struct audience *a = home->entries[i].audience;
        if (i + AHEAD < home->n) look_ahead(home->entries[i + AHEAD].audience);
        if (!a->typed || filter_wants(a->key.filter, f)) add(fan, a, f);
        if (PLANTED(21)) return;
    }
}

void audiences_add(struct fan *fan, struct chan *c, const struct frame *f) {
    for (struct list *at = c->broad.next; at != &c->broad; at = at->next) {
        struct audience *a = container_of(at, struct audience, in_chan);
        if (filter_wants(a->key.filter, f)) add(fan, a, f);
    }
    if (c->by_key.n > 0) add_interested(fan, c, f);
}

void audience_turn_over(struct fan *fan, struct audience *a) {
    a->walk = 0;
    list_remove(&a->turn);
    if ((a->last == a->due || PLANTED(18)) && !a->again) {
        a->pending = 0;
        a->key.chan->n_pending--;
        return;
    }
    if (!a->again) { /* events came while it walked */
        a->pending = a->due + 1;
        a->wanted_sent = a->wanted_due;
    }
    get_turn(fan, a);
}

void audience_keep(struct fan *fan, struct audience *a, uint64_t from) {
    a->again = true;
    if (!a->pending) begin_pending(fan, a, from + 1);
    else if (from + 1 < a->pending) a->pending = from + 1;
}

void audiences_tick(struct fan *fan) {
    struct list due;
    list_init(&due);
    if (!ticks_take(&fan->ticks, fan->now_ms, &due)) return;
    cache_clear(&fan->cache);
    while (!list_empty(&due)) {
        struct audience *a = container_of(due.next, struct audience, turn);
        list_remove(&a->turn);
        begin_turn(fan, a);
    }
}

static void retune(struct fan *fan, struct audience *a) {
    uint32_t period = period_of(a->key.chan, a->key.asked_ms);
    struct tick *old = a->key.tick;
    if (period == (old ? old->period_ms : 0)) return;
    map_remove(&fan->audiences, &a->node);
    list_remove(&a->turn);
    if (old) {
        ticks_left(&fan->ticks, old);
        old->users--;
    }
    a->key.tick = pick_tick(fan, a->key.chan, period);
    if (a->key.tick) a->key.tick->users++;
    map_add(&fan->audiences, &a->node);
    for (uint32_t i = 0; i < a->n_subs; i++)
        a->subs[i]->rests_ms = 0; /* of the old tick */
    if (a->pending) begin_turn(fan, a);
}

static void retune_all(struct fan *fan, struct list *all) {
    for (struct list *at = all->next; at != all; at = at->next)
        retune(fan, container_of(at, struct audience, in_chan));
}

void audiences_retune(struct fan *fan, struct chan *c) {
    retune_all(fan, &c->broad);
    retune_all(fan, &c->narrow);
}

/* From the last one down: one that is demoted meanwhile is exchanged with one that was
 * visited. */
static void each_sub(const struct list *audiences, void (*act)(struct sub *sub)) {
    for (const struct list *at = audiences->next; at != audiences; at = at->next) {
        const struct audience *a = container_of(at, struct audience, in_chan);
        for (uint32_t i = a->n_subs; i-- > 0;) act(a->subs[i]);
    }
}

void audiences_each_sub(struct chan *c, void (*act)(struct sub *sub)) {
    each_sub(&c->broad, act);
    each_sub(&c->narrow, act);
}
