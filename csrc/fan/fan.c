/* Commands, the flush and the look-ups of one thread's fan; see fan.h. */
#include "fan/fan.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"
#include "fan/tally.h"

#include <assert.h>
#include <stdio.h>

void fan_init(struct fan *fan, const char *epoch, const _Atomic uint64_t *log_head,
              const struct fan_ops *ops, uint64_t seed) {
    *fan = (struct fan){.log_head = log_head, .ops = ops, .random = seed};
    snprintf(fan->epoch, sizeof fan->epoch, "%s", epoch);
    map_init(&fan->channels);
    map_init(&fan->filters);
    map_init(&fan->audiences);
    ticks_init(&fan->ticks);
    list_init(&fan->dirty);
    list_init(&fan->ready);
    list_init(&fan->waiting);
    list_init(&fan->tallies);
    fan->scratch.cap = GATHER_BYTES_MAX + FRAME_BYTES_MAX + STREAM_PRIVATE_BYTES_MAX;
    fan->scratch.p = mem_new(fan->scratch.cap);
}

void fan_forget_blocks(struct fan *fan) {
    for (uint32_t i = 0; i < GATHER_CACHE && i < fan->cache_next; i++) {
        if (fan->cache[i].block) block_unref(fan->cache[i].block);
        fan->cache[i].block = NULL;
    }
    fan->cache_next = 0; /* the entries are filled from the first on */
}

void fan_deinit(struct fan *fan) {
    fan_forget_blocks(fan);
    for (struct map_node *node; (node = map_next(&fan->channels, NULL));) {
        struct chan *c = container_of(node, struct chan, node);
        map_remove(&fan->channels, node);
        chan_free(c);
    }
    assert(fan->filters.n == 0 && fan->audiences.n == 0);
    map_deinit(&fan->channels);
    map_deinit(&fan->audiences);
    map_deinit(&fan->filters);
    for (uint32_t i = 0; i < fan->n_floors; i++) mem_free(fan->floors[i].pattern);
    mem_free(fan->floors);
    while (!list_empty(&fan->tallies))
        tally_free(container_of(fan->tallies.next, struct tally, node));
    policy_set_unref(fan->policies);
    buf_free(&fan->scratch);
}

/* ---- Looking up --------------------------------------------------------------------- */

static struct chan *find_hashed(const struct fan *fan, struct slice channel,
                                uint64_t hash) {
    struct map_node *node = map_get_hashed(&fan->channels, channel, hash);
    return node ? container_of(node, struct chan, node) : NULL;
}

struct chan *fan_find(const struct fan *fan, struct slice channel) {
    return find_hashed(fan, channel, map_hash(channel));
}

static struct chan *make(struct fan *fan, struct slice channel) {
    struct chan *c = chan_new(channel);
    struct policy policy = policy_of(fan->policies, channel);
    chan_configure(c, &policy);
    map_add(&fan->channels, &c->node);
    return c;
}

int fan_get(struct fan *fan, struct slice channel, struct chan **out) {
    *out = fan_find(fan, channel);
    if (*out) return 0;
    if (pattern_check_channel(channel)) return E_CHANNEL;
    if (fan->channels.n >= CHANNELS_MAX) return E_FULL;
    *out = make(fan, channel);
    return 0;
}

static uint64_t meta_floor(const struct fan *fan, struct slice pattern) {
    for (uint32_t i = 0; i < fan->n_floors; i++)
        if (slice_eq(slice_str(fan->floors[i].pattern), pattern))
            return fan->floors[i].floor;
    return fan->any_floor;
}

uint64_t fan_floor(const struct fan *fan, const struct chan *c) {
    return c->known || PLANTED(7) ? c->floor : meta_floor(fan, c->policy.pattern);
}

void fan_release(struct fan *fan, struct chan *c) {
    if (c->known || c->n_subs > 0) return;
    map_remove(&fan->channels, &c->node);
    chan_free(c);
}

/* ---- Commands ----------------------------------------------------------------------- */

void fan_frame(struct fan *fan, struct frame *f) {
    assert(f->seq > fan->head);
    fan_forget_blocks(fan);
    struct chan *c = find_hashed(fan, f->channel, f->channel_hash);
    if (!c) c = make(fan, f->channel);
    if (!c->known) {
        c->floor = meta_floor(fan, c->policy.pattern);
        c->known = true;
    }
    chan_append(c, f);
    fan->head = f->seq;
    audiences_owe(fan, c, f);
    chan_release_backlog(c);
}

/* With other patterns nobody can say which pattern a dropped channel belongs to now: what
 * they left behind holds for all. */
static void share_floors(struct fan *fan) {
    for (uint32_t i = 0; i < fan->n_floors; i++) {
        if (fan->floors[i].floor > fan->any_floor) fan->any_floor = fan->floors[i].floor;
        mem_free(fan->floors[i].pattern);
    }
    fan->n_floors = 0;
}

void fan_policies(struct fan *fan, struct policy_set *set) {
    struct policy_set *old = fan->policies;
    if (!policy_same_patterns(old, set)) share_floors(fan);
    fan->policies = policy_set_ref(set);
    fan_forget_blocks(fan);
    for (struct map_node *node = map_next(&fan->channels, NULL); node;
         node = map_next(&fan->channels, node)) {
        struct chan *c = container_of(node, struct chan, node);
        struct policy policy = policy_of(set, node->key);
        chan_configure(c, &policy);
        audiences_retune(fan, c);
    }
    policy_set_unref(old);
}

void fan_trim(struct fan *fan, struct slice channel, uint64_t seq) {
    struct chan *c = fan_find(fan, channel);
    if (!c) return;
    chan_trim(c, seq);
    chan_release_backlog(c);
}

static void fold_floor(struct fan *fan, struct slice pattern, uint64_t floor) {
    uint32_t i = 0;
    while (i < fan->n_floors && !slice_eq(slice_str(fan->floors[i].pattern), pattern))
        i++;
    if (i == fan->n_floors) {
        struct meta_floor *floors = NULL;
        if (i < META_FLOORS_MAX)
            floors = mem_resize(fan->floors, (i + 1) * sizeof *floors);
        if (!floors) { /* too many policies: they share one floor, told rather than lost */
            if (floor > fan->any_floor) fan->any_floor = floor;
            return;
        }
        fan->floors = floors;
        fan->floors[i].pattern = mem_strndup(pattern.p, pattern.n);
        fan->floors[i].floor = fan->any_floor;
        fan->n_floors++;
    }
    if (floor > fan->floors[i].floor) fan->floors[i].floor = floor;
}

void fan_drop(struct fan *fan, struct slice channel) {
    struct chan *c = fan_find(fan, channel);
    if (!c || !c->known) return;
    chan_trim(c, c->last);
    fold_floor(fan, c->policy.pattern, c->floor);
    c->known = false;
    chan_release_backlog(c);
    fan_release(fan, c);
}

/* ---- Delivery ----------------------------------------------------------------------- */

static void demote(struct stream *s) {
    if (s->behind) return;
    stream_settle(s);
    s->behind = true;
    s->behind_ms = s->fan->now_ms;
    for (struct sub *sub = s->subs; sub; sub = sub->next)
        audience_demote(sub->audience, sub);
}

/* Caught up: walked with its audiences from now on. Where it was the last one behind,
 * what was kept for it goes. */
static void promote(struct stream *s) {
    list_remove(&s->ready);
    if (!s->behind) return;
    s->behind = false;
    for (struct sub *sub = s->subs; sub; sub = sub->next) {
        audience_promote(sub->audience, sub);
        sub_rest(sub);
        chan_release_backlog(sub_chan(sub));
    }
}

static void make_ready(struct fan *fan, struct stream *s) {
    demote(s);
    if (list_empty(&s->ready)) list_add(&fan->ready, &s->ready);
}

void fan_wake(struct fan *fan, struct stream *s) {
    if (!s->blocked) make_ready(fan, s);
}

void fan_writable(struct fan *fan, struct stream *s) {
    s->blocked = false;
    list_remove(&s->ready);
    make_ready(fan, s);
}

/* One visit to one stream. */
static void serve(struct fan *fan, struct stream *s) {
    if (s->blocked) return;
    struct block *b;
    bool more;
    if (stream_gather(s, &b, &more) < 0) {
        make_ready(fan, s); /* nothing moved: try again when memory is back */
        return;
    }
    if (!b) {
        if (!more) promote(s);
        return;
    }
    fan->delivered += b->events;
    fan->delivered_bytes += b->n;
    bool over = b->end != STREAM_GOES_ON;
    enum fan_sent sent = fan->ops->send(s, b);
    if (sent == FAN_SENT && !over) {
        if (more && !PLANTED(11)) make_ready(fan, s);
        else promote(s);
        return;
    }
    list_remove(&s->ready);
    demote(s);
    s->blocked = true; /* until its socket takes bytes; for ever when it is over */
    list_add(&fan->waiting, &s->ready);
}

/* The member whose turn is the next but 'skip', here or in the audiences that follow at
 * once; NULL: nobody's. However many of those have no live member, it costs the same. */
static struct sub *coming(const struct fan *fan, const struct audience *a,
                          uint32_t skip) {
    uint32_t at = a->walk + skip;
    for (uint32_t hops = 0; at >= a->n_live; hops++) {
        at -= a->n_live;
        if (hops > skip || a->turn.next == &fan->dirty) return NULL;
        a = container_of(a->turn.next, struct audience, turn);
    }
    return a->subs[at];
}

/* Ten thousand streams are never all in the processor's cache: the next two are fetched
 * while the kernel takes what one is sent. */
static void look_ahead(const struct fan *fan, const struct audience *a) {
    const struct sub *second = coming(fan, a, 1), *first = coming(fan, a, 0);
    if (second) __builtin_prefetch(second, 1);
    if (first) fan->ops->expect(first->stream);
}

/* What is left of a flush, or of a part of it. */
struct slice_left {
    int streams;
    int64_t until_us; /* 0: however long it takes */
};

/* False when the slice is over. Some streams are always served. */
static bool goes_on(const struct fan *fan, struct slice_left *left) {
    if (left->streams <= 0) return false;
    if (left->streams-- % FLUSH_STREAMS_LOOK > 0 || left->until_us == 0) return true;
    bool called = fan->called && atomic_load_explicit(fan->called, memory_order_relaxed);
    return !called && clock_us() < left->until_us;
}

/* Walk on over the live members of an audience. False when the slice is over. */
static bool walk(struct fan *fan, struct audience *a, struct slice_left *left) {
    while (a->walk < a->n_live) {
        if (!goes_on(fan, left)) return false;
        struct stream *s = a->subs[a->walk++]->stream;
        look_ahead(fan, a);
        serve(fan, s);
    }
    audience_turn_over(fan, a);
    chan_release_backlog(a->place.chan);
    return true;
}

static void walk_dirty(struct fan *fan, struct slice_left *left) {
    bool more = true;
    while (more && !list_empty(&fan->dirty))
        more = walk(fan, container_of(fan->dirty.next, struct audience, turn), left);
}

/* Each of the streams that are behind once. */
static void serve_ready(struct fan *fan, struct slice_left *left) {
    struct list turn;
    list_init(&turn);
    list_take_all(&turn, &fan->ready);
    while (!list_empty(&turn) && goes_on(fan, left)) {
        struct stream *s = container_of(turn.next, struct stream, ready);
        list_remove(&s->ready);
        serve(fan, s);
    }
    list_take_all(&fan->ready, &turn);
}

bool fan_flush(struct fan *fan, int budget) {
    struct slice_left walks = {budget, 0}, serves = {budget / 2 + 1, 0};
    if (budget == 0) {
        int64_t now_us = clock_us();
        walks = (struct slice_left){INT32_MAX, now_us + FLUSH_WALK_US_MAX};
        serves = (struct slice_left){INT32_MAX, now_us + FLUSH_US_MAX};
    }
    audiences_tick(fan);
    walk_dirty(fan, &walks);
    serve_ready(fan, &serves);
    bool left = !list_empty(&fan->dirty) || !list_empty(&fan->ready);
    if (!left) fan_forget_blocks(fan);
    return left;
}
