/* Commands, the flush and the look-ups of one thread's fan; see fan.h. */
#include "fan/fan.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/planted.h"
#include "fan/filtered.h"
#include "fan/gather.h"
#include "fan/history.h"
#include "fan/sub.h"

#include <assert.h>
#include <stdio.h>

void fan_init(struct fan *fan, const struct fan_setup *setup) {
    *fan = (struct fan){.loop = setup->loop,
                        .log_head = setup->log_head,
                        .ops = setup->ops,
                        .random = setup->seed};
    snprintf(fan->epoch, sizeof fan->epoch, "%s", setup->epoch);
    chans_init(&fan->chans);
    pool_init(&fan->audiences, sizeof(struct audience));
    pool_init(&fan->subs, sizeof(struct sub));
    map_init(&fan->filters, filter_map_key);
    map_init(&fan->filtered, filtered_key);
    ticks_init(&fan->ticks);
    list_init(&fan->dirty);
    list_init(&fan->ready);
    list_init(&fan->waiting);
    list_init(&fan->page_queue);
    list_init(&fan->page_rest);
    list_init(&fan->tallies);
    fan->scratch.cap = GATHER_BYTES_MAX + FRAME_BYTES_MAX + STREAM_PRIVATE_BYTES_MAX;
    fan->scratch.p = mem_new(fan->scratch.cap);
}

void fan_deinit(struct fan *fan) {
    ASSERT_OWNER(fan->loop);
    assert(list_empty(&fan->page_queue) && list_empty(&fan->page_rest));
    cache_clear(&fan->cache);
    chans_deinit(&fan->chans);
    assert(fan->filters.n == 0 && fan->filtered.n == 0);
    pool_deinit(&fan->subs);
    pool_deinit(&fan->audiences);
    map_deinit(&fan->filtered);
    map_deinit(&fan->filters);
    while (!list_empty(&fan->tallies))
        tally_free(container_of(fan->tallies.next, struct tally, node));
    buf_free(&fan->scratch);
    coder_deinit(&fan->coder);
}

/* ---- A start on what a store has ------------------------------------------------------ */

void fan_restore_start(struct fan *fan, const char *epoch, uint64_t first) {
    ASSERT_OWNER(fan->loop);
    assert(fan->head == 0);
    snprintf(fan->epoch, sizeof fan->epoch, "%s", epoch);
    fan->head = fan->chans.first = first;
}

int fan_restore_channel(struct fan *fan, struct slice channel, uint64_t floor,
                        uint64_t last) {
    ASSERT_OWNER(fan->loop);
    struct chan *c;
    int err = chans_get(&fan->chans, channel, &c);
    if (err == 0) chan_restore(c, floor, last > floor ? last : floor);
    return err;
}

void fan_restore_pattern(struct fan *fan, struct slice pattern, uint64_t floor) {
    ASSERT_OWNER(fan->loop);
    chans_restore_floor(&fan->chans, pattern, floor);
}

void fan_restore_event(struct fan *fan, struct frame *f) {
    ASSERT_OWNER(fan->loop);
    struct chan *c = chans_find(&fan->chans, f->channel);
    if (c && c->kind != CHANNEL_STATE) chan_restore_event(c, f);
}

void fan_restore_newest(struct fan *fan, struct frame *f) {
    ASSERT_OWNER(fan->loop);
    struct chan *c = chans_find(&fan->chans, f->channel);
    if (c && c->kind != CHANNEL_LOG) chan_restore_newest(c, f);
}

/* ---- Commands ----------------------------------------------------------------------- */

void fan_frame(struct fan *fan, struct frame *f) {
    ASSERT_OWNER(fan->loop);
    uint64_t *head = f->local ? &fan->local_head : &fan->head;
    assert(f->seq > *head);
    cache_clear(&fan->cache);
    struct chan *c = chans_of_frame(&fan->chans, f);
    assert(c->policy->local == f->local);
    chan_append(c, f);
    *head = f->seq;
    audiences_add(fan, c, f);
    chan_release_backlog(c);
}

/* The subscribers are informed while the channel is what it was. True: it holds nothing any more. */
static bool configure(struct fan *fan, struct chan *c) {
    const struct policy *policy = chans_policy(&fan->chans, chan_name(c));
    enum chan_change change = chan_change(c, policy);
    bool ends = chan_is_paged(c) && !policy_is_paged(policy); /* else its rows stay */
    if (ends && change < CHAN_TURNS)
        audiences_each_sub(c, change == CHAN_SAME ? history_end : history_cut);
    if (ends || PLANTED(44)) audiences_each_sub(c, history_forget);
    if (change == CHAN_TURNS) audiences_each_sub(c, sub_begin_anew);
    if (change == CHAN_MOVES) audiences_each_sub(c, sub_depart);
    if (change != CHAN_SAME) audiences_each_sub(c, sub_end_snapshot);
    if (change == CHAN_MOVES) chans_leave(&fan->chans, c, policy);
    chan_configure(c, policy);
    if (change == CHAN_MOVES) {
        if (!PLANTED(670)) audiences_restart(fan, c);
        audiences_each_sub(c, sub_arrive);
    }
    audiences_retune(fan, c);
    return change == CHAN_MOVES;
}

void fan_policies(struct fan *fan, struct policy_set *set) {
    ASSERT_OWNER(fan->loop);
    struct policy_table old = chans_set_policies(&fan->chans, set);
    cache_clear(&fan->cache);
    for (struct chan *c = chans_next(&fan->chans, NULL), *next; c; c = next) {
        next = chans_next(&fan->chans, c);
        if (configure(fan, c)) chans_release(&fan->chans, c);
    }
    policy_table_deinit(&old);
}

void fan_convert(struct fan *fan, const struct fan_conversion *c) {
    ASSERT_OWNER(fan->loop);
    fan_policies(fan, c->policies);
    for (uint32_t i = 0; i < c->n_floors; i++)
        chans_restore_floor(&fan->chans, c->floors[i].pattern, c->floors[i].floor);
    for (uint32_t i = 0; i < c->n_keyed && !PLANTED(41); i++) {
        struct chan *chan = chans_find(&fan->chans, c->keyed[i]);
        if (chan && chan->kind == CHANNEL_KEYED) chan_forget_latest(chan);
    }
    for (uint32_t i = 0; i < c->n_newest && !PLANTED(41); i++)
        fan_restore_newest(fan, c->newest[i]);
}

void fan_trim(struct fan *fan, struct slice channel, uint64_t seq, enum lost_by by) {
    ASSERT_OWNER(fan->loop);
    struct chan *c = chans_find(&fan->chans, channel);
    if (!c) return;
    chan_trim(c, seq, by);
    chan_release_backlog(c);
}

void fan_drop(struct fan *fan, struct slice channel) {
    ASSERT_OWNER(fan->loop);
    struct chan *c = chans_find(&fan->chans, channel);
    if (c) chans_drop(&fan->chans, c);
}

void fan_forget(struct fan *fan, struct slice channel) {
    ASSERT_OWNER(fan->loop);
    struct chan *c = chans_find(&fan->chans, channel);
    if (c) chans_forget(&fan->chans, c);
}

void fan_raise_floor(struct fan *fan, struct slice channel, uint64_t floor) {
    ASSERT_OWNER(fan->loop);
    struct chan *c = chans_find(&fan->chans, channel);
    if (!c) return;
    chan_raise_floor(c, floor);
    chan_release_backlog(c);
}

/* ---- Delivery ----------------------------------------------------------------------- */

/* It has for the first time all that was there. */
static void note_replay(struct stream *s) {
    s->replayed = true;
    if (s->fan->replays) histogram_add(s->fan->replays, histogram_events, s->replay, 1);
}

/* Caught up: walked with its audiences from now on. Where it was the last one that lagged,
 * what was kept for it goes. */
static void promote(struct stream *s) {
    list_remove(&s->ready);
    if (!s->lagging) return;
    s->lagging = false;
    if (s->opened && !s->replayed) note_replay(s);
    for (struct sub *sub = s->subs; sub; sub = sub->next) {
        audience_promote(sub->audience, sub);
        sub_rest(sub);
        chan_release_backlog(sub_chan(sub));
    }
}

/* Nothing more can be sent before a page comes, which wakes it. */
static void await_page(struct stream *s) {
    stream_demote(s);
    list_remove(&s->ready);
}

/* Visited, and nothing is left that could be sent now. */
static void caught_up(struct stream *s) {
    if (paging_awaits(s)) await_page(s);
    else promote(s);
}

/* It is not visited before fan_on_result: as if its block were out, but for that. */
static void await_result(struct stream *s, bool more) {
    if (more) stream_demote(s);
    else caught_up(s);
    list_remove(&s->ready);
    s->blocked = true;
}

void fan_on_result(struct stream *s, enum fan_sent sent, bool over) {
    ASSERT_OWNER(s->fan->loop);
    if (sent == FAN_SENT && !over) {
        s->blocked = false;
        if (s->lagging) stream_make_ready(s);
        return;
    }
    list_remove(&s->ready);
    stream_demote(s);
    s->blocked = true; /* until its socket takes bytes; for ever when it is over */
    list_add(&s->fan->waiting, &s->ready);
    history_pause(s);
}

/* What it is given now. */
static void count(struct fan *fan, struct stream *s, const struct block *b) {
    fan->delivered += b->events;
    fan->delivered_bytes += b->n;
    if (form_compresses(s->form)) {
        fan->compressed_from += b->n;
        fan->compressed_to += block_wire(b, s->form).n;
    }
    if (s->replayed) return;
    uint32_t replay = s->replay + b->events;
    s->replay = (uint16_t)(replay < UINT16_MAX ? replay : UINT16_MAX);
}

static void note_latency(struct fan *fan, enum fan_sent sent, int64_t at_us) {
    if (sent == FAN_SENT) latency_note(&fan->latency, at_us);
    else if (sent == FAN_QUEUED) latency_note(&fan->latency_queued, at_us);
}

/* One more block is queued: with it its whole batch may have entered the kernel. */
static void note_queued(struct fan *fan) {
    fan->queued = true;
    if (fan->latency_queued.n > 0 && *fan->unsent == 0)
        latency_settle(&fan->latency_queued, clock_us());
}

void fan_settle(struct fan *fan) {
    ASSERT_OWNER(fan->loop);
    if (fan->latency.n + fan->latency_queued.n == 0) return;
    int64_t now_us = clock_us();
    latency_settle(&fan->latency, now_us);
    latency_settle(&fan->latency_queued, now_us);
}

/* One visit to one stream; 'timed': how long its events took is of interest. */
static void serve(struct fan *fan, struct stream *s, bool timed) {
    if (s->blocked) {
        stream_demote(s); /* a result is awaited: what is pending goes out after it */
        return;
    }
    struct block *b;
    bool more;
    if (stream_gather(s, &b, &more) < 0) {
        stream_make_ready(s); /* nothing moved: try again when memory is back */
        return;
    }
    if (!b) {
        if (!more) caught_up(s);
        return;
    }
    count(fan, s, b);
    bool over = b->end != STREAM_GOES_ON;
    int64_t at_us = b->at_us;
    enum fan_sent sent = fan->ops->send(s, b);
    if (timed) note_latency(fan, sent, at_us);
    if (sent == FAN_QUEUED) note_queued(fan);
    if (PLANTED(401) && sent == FAN_QUEUED) sent = FAN_SENT;
    if (sent == FAN_SENT && !over) {
        if (more && !PLANTED(11)) stream_make_ready(s);
        else caught_up(s);
    } else if (sent == FAN_QUEUED) {
        await_result(s, more || over);
    } else {
        fan_on_result(s, sent, over);
    }
}

/* The member whose turn is the next but 'skip', here or in the audiences that follow at
 * once; NULL: there is none. However many of those have no live member, it costs the same. */
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
    uint64_t bytes;   /* of fan->gathered, when blocks are queued */
};

/* False when the slice is over. Some streams are always served. */
static bool goes_on(struct fan *fan, struct slice_left *left) {
    if (left->streams <= 0) return false;
    if (fan->queued && fan->gathered >= left->bytes) return false;
    if (left->streams-- % FLUSH_STREAMS_LOOK > 0 || left->until_us == 0) return true;
    bool called = fan->called && atomic_load_explicit(fan->called, memory_order_relaxed);
    int64_t now_us = clock_us();
    latency_settle(&fan->latency, now_us);
    return !called && now_us < left->until_us;
}

/* Walk on over the live members of an audience. False when the slice is over. */
static bool walk(struct fan *fan, struct audience *a, struct slice_left *left) {
    while (a->walk < a->n_live) {
        if (!goes_on(fan, left)) return false;
        struct stream *s = a->subs[a->walk++]->stream;
        look_ahead(fan, a);
        serve(fan, s, !s->lagging && !a->key.tick);
    }
    audience_turn_over(fan, a);
    chan_release_backlog(a->key.chan);
    return true;
}

static void walk_dirty(struct fan *fan, struct slice_left *left) {
    bool more = true;
    while (more && !list_empty(&fan->dirty))
        more = walk(fan, container_of(fan->dirty.next, struct audience, turn), left);
}

/* Each of the streams that lag once. */
static void serve_ready(struct fan *fan, struct slice_left *left) {
    struct list turn;
    list_init(&turn);
    list_take_all(&turn, &fan->ready);
    while (!list_empty(&turn) && goes_on(fan, left)) {
        struct stream *s = container_of(turn.next, struct stream, ready);
        list_remove(&s->ready);
        if (fan->yield) yield_if_urgent(fan->yield);
        serve(fan, s, false);
    }
    list_take_all(&fan->ready, &turn);
}

bool fan_flush(struct fan *fan, int budget) {
    ASSERT_OWNER(fan->loop);
    struct slice_left walks = {budget, 0, FLUSH_WALK_BYTES_MAX};
    struct slice_left serves = {budget / 2 + 1, 0, FLUSH_BYTES_MAX};
    if (budget == 0) {
        int64_t now_us = clock_us();
        walks.streams = serves.streams = INT32_MAX;
        walks.until_us = now_us + FLUSH_WALK_US_MAX;
        serves.until_us = now_us + FLUSH_US_MAX;
    }
    fan->gathered = 0;
    fan->queued = false;
    audiences_tick(fan);
    history_tick(fan);
    walk_dirty(fan, &walks);
    if (fan->gathered >= serves.bytes) serves.bytes = fan->gathered + 1;
    serve_ready(fan, &serves);
    bool left = !list_empty(&fan->dirty) || !list_empty(&fan->ready);
    if (!left) cache_clear(&fan->cache);
    return left;
}

int64_t fan_next(const struct fan *fan) {
    int64_t tick = ticks_next(&fan->ticks), page = history_next(fan);
    return tick < page ? tick : page;
}
