/* Members, turns and the index by key; see audience.h. */
#include "fan/audience.h"

#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"
#include "fan/fan_state.h"
#include "fan/filtered.h"

#include <assert.h>

/* ---- Being there -------------------------------------------------------------------- */

/* The longer of the policy's period and the one asked for. Only a state may leave events
 * out. */
static uint32_t period_of(const struct chan *c, uint64_t asked_ms) {
    uint32_t period = policy_period(c->policy);
    return c->kind == CHANNEL_STATE && asked_ms > period ? (uint32_t)asked_ms : period;
}

/* The phase of a state keeps its first tick away from the values that it begins with. Logs have theirs
 * at the same moments, so that whoever follows them shares what is gathered. */
static struct tick *pick_tick(struct fan *fan, const struct chan *c, uint32_t period) {
    bool state = c->kind == CHANNEL_STATE;
    return ticks_pick(&fan->ticks, period, state ? fan->now_ms : 0);
}

/* What leads to one without a filter; NULL: the end of the list. */
static struct audience **whole_link(struct chan *c, const struct audience *a) {
    struct audience **link = &c->whole;
    while (*link != a) link = &(*link)->at.next;
    return link;
}

static int audience_new(struct fan *fan, const struct audience_key *key,
                        struct audience **out) {
    struct audience *a = pool_new(&fan->audiences);
    struct chan *c = key->chan;
    *a = (struct audience){.key = *key,
                           .last = c->kept->last,
                           .due = c->kept->last,
                           .typed = filter_has_types(key->filter),
                           .cap_subs = 1};
    a->subs = &a->first;
    list_init(&a->turn);
    if (key->filter && filtered_add(fan, a) < 0) {
        pool_free(&fan->audiences, a);
        return E_NOMEM;
    }
    if (!key->filter) *whole_link(c, NULL) = a;
    filter_ref(key->filter);
    if (key->tick) key->tick->users++;
    *out = a;
    return 0;
}

static struct audience *audience_find(const struct fan *fan,
                                      const struct audience_key *key) {
    if (key->filter) return filtered_find(fan, key);
    struct audience *a = key->chan->whole;
    while (a && (a->key.tick != key->tick || a->key.asked_ms != key->asked_ms))
        a = a->at.next;
    return a;
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
    struct audience *a = audience_find(fan, &key);
    if (!a && audience_new(fan, &key, &a) < 0) return E_NOMEM;
    *out = a;
    int err = make_room(a);
    if (err < 0) audience_release(fan, a);
    return err;
}

static void stop_waiting(struct fan *fan, struct audience *a) {
    if (a->pending) chan_keep(a->key.chan)->n_pending--;
    a->pending = 0;
    list_remove(&a->turn);
    if (a->key.tick) ticks_left(&fan->ticks, a->key.tick);
}

void audience_release(struct fan *fan, struct audience *a) {
    if (a->n_subs > 0) return;
    stop_waiting(fan, a);
    cache_clear(&fan->cache); /* they are known by its address */
    if (a->key.filter) filtered_remove(fan, a);
    else *whole_link(a->key.chan, a) = a->at.next;
    if (a->key.tick) a->key.tick->users--;
    filter_unref(a->key.filter);
    if (a->subs != &a->first) mem_free(a->subs);
    pool_free(&fan->audiences, a);
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
    chan_keep(a->key.chan)->n_pending++;
    get_turn(fan, a);
}

static void add(struct fan *fan, struct audience *a, const struct frame *f) {
    a->last = f->seq;
    a->news = true;
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
    struct map_node *node = map_get_hashed(&c->filtered->by_key, f->key, f->key_hash);
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
    for (struct audience *a = c->whole; a; a = a->at.next) add(fan, a, f);
    if (!c->filtered) return;
    const struct list *typed = &c->filtered->typed;
    for (struct list *at = typed->next; at != typed; at = at->next) {
        struct audience *a = filtered_at(at);
        if (filter_wants(a->key.filter, f)) add(fan, a, f);
    }
    if (c->filtered->by_key.n > 0) add_interested(fan, c, f);
}

void audience_turn_over(struct fan *fan, struct audience *a) {
    a->walk = 0;
    list_remove(&a->turn);
    if ((a->last == a->due || PLANTED(18)) && !a->again) {
        a->pending = 0;
        chan_keep(a->key.chan)->n_pending--;
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
    if (a->key.filter) filtered_hide(fan, a);
    list_remove(&a->turn);
    if (old) {
        ticks_left(&fan->ticks, old);
        old->users--;
    }
    a->key.tick = pick_tick(fan, a->key.chan, period);
    if (a->key.tick) a->key.tick->users++;
    if (a->key.filter) filtered_show(fan, a);
    for (uint32_t i = 0; i < a->n_subs; i++)
        a->subs[i]->rests_ms = 0; /* of the old tick */
    if (a->pending) begin_turn(fan, a);
}

/* What is done with each audience of a channel. */
struct act {
    void (*on)(struct fan *fan, struct audience *a);
    void (*on_sub)(struct sub *sub);
    struct fan *fan;
};

/* From the last member down: one that is demoted meanwhile is exchanged with one that was
 * visited. */
static void do_one(const struct act *act, struct audience *a) {
    if (act->on) act->on(act->fan, a);
    for (uint32_t i = act->on_sub ? a->n_subs : 0; i-- > 0;) act->on_sub(a->subs[i]);
}

static void do_list(const struct act *act, const struct list *all) {
    for (const struct list *at = all->next; at != all; at = at->next)
        do_one(act, filtered_at(at));
}

static void do_all(const struct act *act, struct chan *c) {
    for (struct audience *a = c->whole; a; a = a->at.next) do_one(act, a);
    if (!c->filtered) return;
    do_list(act, &c->filtered->typed);
    do_list(act, &c->filtered->keyed);
}

static void restart(struct fan *fan, struct audience *a) {
    stop_waiting(fan, a);
    a->last = a->due = 0;
    a->walk = 0;
    a->news = a->again = false;
}

void audiences_restart(struct fan *fan, struct chan *c) {
    do_all(&(struct act){.on = restart, .fan = fan}, c);
}

void audiences_retune(struct fan *fan, struct chan *c) {
    do_all(&(struct act){.on = retune, .fan = fan}, c);
}

void audiences_each_sub(struct chan *c, void (*act)(struct sub *sub)) {
    do_all(&(struct act){.on_sub = act}, c);
}
