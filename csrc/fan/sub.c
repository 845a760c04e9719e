/* Joining, moving and where a subscription starts; see sub.h. */
#include "fan/sub.h"

#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"
#include "fan/fan_state.h"

#include <assert.h>

/* ---- Joining ------------------------------------------------------------------------ */

static void join(struct sub *sub, struct audience *a) {
    const struct tick *tick = a->key.tick;
    audience_add(a, sub);
    sub->counted = a->wanted;
    sub->rests_ms = 0;
    if (tick) sub->rests_ms = tick_from(tick, sub->stream->fan->now_ms + tick->period_ms);
}

int sub_new(struct stream *s, const struct sub_spec *spec, struct sub **out) {
    assert(s->lagging);
    struct fan *fan = s->fan;
    struct audience *a = NULL;
    struct audience_key key = {.asked_ms = spec->period_ms};
    int err = chans_get(&fan->chans, spec->channel, &key.chan);
    if (err < 0) return err;
    err = filter_intern(&fan->filters, spec->types, spec->keys, &key.filter);
    if (err == 0) err = audience_reserve(fan, key, &a);
    filter_unref(key.filter);
    if (err != 0) {
        chans_release(&fan->chans, key.chan);
        return err;
    }
    struct sub *sub = pool_new(&fan->subs);
    sub->stream = s;
    sub->joined = fan_head(fan, key.chan);
    sub->next = s->subs;
    s->subs = sub;
    s->n_subs++;
    s->filtered = s->filtered || key.filter;
    join(sub, a);
    *out = sub;
    return 0;
}

void sub_free(struct stream *s, struct sub **at) {
    struct sub *sub = *at;
    struct audience *a = sub->audience;
    struct chan *c = sub_chan(sub);
    *at = sub->next;
    s->n_subs--;
    audience_remove(a, sub);
    audience_release(s->fan, a);
    chan_release_backlog(c); /* it may have been kept for this one alone */
    chans_release(&s->fan->chans, c);
    pool_free(&s->fan->subs, sub);
}

int sub_reserve(struct sub *sub, const struct sub_spec *wanted, struct audience **out) {
    struct fan *fan = sub->stream->fan;
    struct audience_key key = {.chan = sub_chan(sub),
                               .asked_ms = sub->audience->key.asked_ms};
    if (wanted->period_ms) key.asked_ms = wanted->period_ms;
    int err = filter_change(&fan->filters, sub_filter(sub), wanted->types, wanted->keys,
                            &key.filter);
    if (err == 0) err = audience_reserve(fan, key, out);
    filter_unref(key.filter);
    return err;
}

void sub_move(struct sub *sub, struct audience *to) {
    assert(sub->stream->lagging);
    struct audience *from = sub->audience;
    if (to == from) return;
    bool same_filter = to->key.filter == from->key.filter;
    audience_remove(from, sub);
    join(sub, to);
    audience_release(sub->stream->fan, from);
    if (!sub_is_state(sub) || same_filter) return;
    if (sub->from > sub->joined) sub->joined = sub->from; /* removals it was sent */
    sub->from = 0;                                        /* the newly wanted, at once */
}

/* ---- Where it starts ---------------------------------------------------------------- */

/* Just before the oldest event of the history; the head when there is none. */
static uint64_t before_history(const struct fan *fan, const struct chan *c,
                               uint64_t skip) {
    uint64_t pos = c->kept->history + skip;
    return pos < c->kept->head ? chan_at(c, pos)->seq - 1 : fan->head;
}

/* Just before all that is left of a log: what memory has, or the store. */
static uint64_t before_all(const struct fan *fan, const struct chan *c) {
    const struct kept *k = c->kept;
    uint64_t stored = k->floor > k->unstored ? k->floor : k->unstored;
    return chan_beyond(c) ? stored : before_history(fan, c, 0);
}

/* The store's floor may be higher than is known here, and a newcomer misses nothing of what is
 * gone: the store says where it starts. */
static bool seeks(const struct chan *c, int32_t rewind) {
    uint64_t held = c->kept->head - c->kept->history;
    bool more = rewind == REWIND_ALL || (rewind > 0 && (uint64_t)rewind > held);
    return more && chan_beyond(c) != 0;
}

/* The newest per key first, then live. */
static void start_snapshot(struct sub *sub) {
    const struct latest *l = sub_chan(sub)->kept->latest;
    uint32_t i = l ? latest_after(l, 0) : 0;
    sub->snapshot = l && i < l->n;
    sub->from = sub->snapshot ? l->slots[i].seq - 1 : sub->stream->fan->head;
}

void sub_start_newcomer(struct sub *sub, int32_t rewind) {
    const struct chan *c = sub_chan(sub);
    const struct fan *fan = sub->stream->fan;
    uint64_t kept = c->kept->head - c->kept->history;
    sub->from = fan_head(fan, c);
    if (c->kind == CHANNEL_STATE) sub->from = 0;
    if (sub_is_apart(sub)) return;
    if (rewind == REWIND_LATEST && c->kind == CHANNEL_KEYED) start_snapshot(sub);
    else if (rewind == REWIND_ALL || seeks(c, rewind)) sub->from = before_all(fan, c);
    else if (rewind > 0 && (uint64_t)rewind >= kept)
        sub->from = before_history(fan, c, 0);
    else if (rewind > 0) sub->from = before_history(fan, c, kept - (uint64_t)rewind);
    sub->seeks = seeks(c, rewind);
}

void sub_replay(struct sub *sub) {
    sub->from = 0;
    sub->joined = sub->stream->fan->head;
    sub->snapshot = sub->confirm = true;
    sub->behind = false;
}

/* Whether a compacted replay that is at this number has something left to bring; what came
 * after it joined, the log brings. */
static bool has_snapshot_left(const struct sub *sub, uint64_t at) {
    const struct latest *l = sub_chan(sub)->kept->latest;
    for (uint32_t i = latest_after(l, at); i < l->n; i = latest_next(l, i)) {
        const struct frame *f = latest_at(l, i);
        if (f->seq > sub->joined) return false;
        if (!f->remove && sub_wants(sub, f)) return true;
    }
    return false;
}

bool sub_snapshot_over(struct sub *sub) {
    bool confirm = sub->confirm;
    sub->snapshot = sub->confirm = false;
    return confirm;
}

void sub_end_snapshot(struct sub *sub) {
    if (!sub->snapshot) return;
    struct stream *s = sub->stream;
    uint64_t at = stream_cursor(s, sub);
    if (has_snapshot_left(sub, at))
        stream_reset(s, &(struct loss){.channel = chan_name(sub_chan(sub)),
                                       .reason = RESET_TRIMMED,
                                       .by = LOST_RELOAD,
                                       .from = at});
    if (sub->from < sub->joined) sub->from = sub->joined;
    if (sub_snapshot_over(sub)) stream_sync(s);
}

void sub_count_dropped(struct sub *sub, uint32_t left) {
    uint32_t gone = sub->audience->wanted - left;
    int32_t dropped = (int32_t)(gone - sub->counted);
    if (dropped > 0)
        chan_tally(sub_chan(sub), &sub->stream->fan->tallies)->counts.dropped +=
            (uint32_t)dropped;
    sub->counted = gone;
}

void sub_begin_anew(struct sub *sub) {
    struct stream *s = sub->stream;
    const struct audience *a = sub->audience;
    uint64_t at = stream_cursor(s, sub);
    if (at < a->last) {
        stream_reset(s, &(struct loss){.channel = chan_name(sub_chan(sub)),
                                       .reason = RESET_TRIMMED,
                                       .by = LOST_RELOAD,
                                       .from = sub_is_local(sub) ? 0 : at});
        sub_count_dropped(sub, 0);
    }
    sub->counted = a->wanted;
    sub->from = at > a->last ? at : a->last;
    sub->behind = false;
}

void sub_depart(struct sub *sub) {
    struct stream *s = sub->stream;
    const struct chan *c = sub_chan(sub);
    stream_wake(s); /* its places are written down by the old numbers */
    if (!sub_is_state(sub)) sub_begin_anew(sub);
    else if (c->kept->last > 0 && !PLANTED(674))
        stream_reset(s, &(struct loss){.channel = chan_name(c),
                                       .reason = RESET_TRIMMED,
                                       .by = LOST_RELOAD});
}

void sub_arrive(struct sub *sub) {
    const struct chan *c = sub_chan(sub);
    sub->joined = fan_head(sub->stream->fan, c);
    sub->from = sub_is_state(sub) ? 0 : sub->joined;
    sub->snapshot = sub->confirm = sub->behind = false;
    sub->counted = sub->audience->wanted;
}

/* Nothing of a memory log is left from before this run. */
static bool is_of_this_run(const struct chan *c) {
    return !c->policy->durable && c->kind != CHANNEL_STATE && !PLANTED(30);
}

/* What lies below its floor is lost: with the run before, or since. */
static enum reset_reason judge_floor(const struct fan *fan, const struct chan *c,
                                     uint64_t at) {
    uint64_t floor = chans_floor(&fan->chans, c);
    if (is_of_this_run(c) && fan->chans.first > floor) floor = fan->chans.first;
    if (at + PLANTED(6) >= floor) return RESET_NONE;
    bool restart =
        at < fan->chans.first && (!c->policy->durable || floor == fan->chans.first);
    return restart ? RESET_RESTART : RESET_TRIMMED;
}

/* Of an earlier epoch of this cluster: what survived of it is behind 'place'. */
static enum reset_reason judge_earlier(const struct fan *fan, const struct eventid *id,
                                       uint64_t *place) {
    uint64_t base;
    if (!lineage_find(&fan->lineage, id->epoch, &base)) return RESET_EPOCH;
    if (base < id->seq) *place = base;
    return RESET_FAILOVER;
}

/* RESET_NONE: what came after the id is still here; else the reason of a reset. */
static enum reset_reason judge(const struct fan *fan, const struct chan *c,
                               const struct eventid *id, uint64_t *place) {
    *place = id->seq;
    if (id->kind != EVENTID_GOOD) return RESET_UNKNOWN_ID;
    if (strcmp(id->epoch, fan->epoch) != 0) return judge_earlier(fan, id, place);
    uint64_t marked = fan->marked > c->kept->marked ? fan->marked : c->kept->marked;
    if (id->seq < marked && !PLANTED(635)) return RESET_FAILOVER;
    uint64_t log_head = atomic_load_explicit(fan->log_head, memory_order_acquire);
    if (id->seq > (PLANTED(16) ? fan->head : log_head)) return RESET_FUTURE;
    return judge_floor(fan, c, id->seq);
}

/* Whether a client that comes back gets a reset: a log without history loses events by name,
 * and a state gives what it has, but for what was lost while it was a log. */
static bool is_reported(const struct chan *c, enum reset_reason reason) {
    if (c->kind == CHANNEL_STATE)
        return reason && reason_reset(reason)->of_state && !PLANTED(26);
    return c->policy->history > 0 || c->kind == CHANNEL_KEYED;
}

enum reset_reason sub_start(struct sub *sub, int32_t rewind, const struct eventid *id,
                            bool *whole) {
    const struct chan *c = sub_chan(sub);
    if (rewind == REWIND_DEFAULT) rewind = c->policy->rewind;
    if (id->kind == EVENTID_NONE || sub_is_local(sub)) { /* of that an id says nothing */
        sub_start_newcomer(sub, rewind);
        return RESET_NONE;
    }
    uint64_t place;
    enum reset_reason reason = judge(sub->stream->fan, c, id, &place);
    bool reported = is_reported(c, reason);
    if (reason && (reported || c->kind != CHANNEL_STATE)) *whole = false;
    if (reported && !reason) {
        sub->from = id->seq;
    } else if (!reported || c->kind == CHANNEL_STATE) {
        sub_start_newcomer(sub, rewind);
        /* its client may have seen more than this thread */
        if (!reason && c->kind == CHANNEL_LOG && id->seq > sub->from) sub->from = id->seq;
    } else if (reason == RESET_FAILOVER && place >= c->kept->floor) {
        sub->from = place;
    } else if (c->kind == CHANNEL_KEYED && rewind == REWIND_LATEST) {
        start_snapshot(sub); /* the sync that ends the opening confirms it */
    } else {
        sub->from = before_all(sub->stream->fan, c);
        sub->told = chan_beyond(c) != 0;
    }
    return reported ? reason : RESET_NONE;
}

bool sub_wants(const struct sub *sub, const struct frame *f) {
    bool wants = audience_took(sub->audience, f) || filter_wants(sub_filter(sub), f);
    return wants && !frame_is_over(f, sub->stream->fan->now_ms);
}

static uint64_t pending_values(const struct sub *sub) {
    const struct latest *l = sub_chan(sub)->kept->latest;
    uint64_t n = 0;
    uint32_t i = l ? latest_after(l, sub->from) : 0;
    for (; l && i < l->n; i = latest_next(l, i)) {
        const struct frame *f = latest_at(l, i);
        n += !f->remove && sub_wants(sub, f);
    }
    return n;
}

uint64_t sub_pending(const struct sub *sub) {
    const struct chan *c = sub_chan(sub);
    const struct kept *k = c->kept;
    uint64_t n = 0;
    if (c->kind == CHANNEL_STATE || sub->snapshot) return pending_values(sub);
    uint64_t pos = chan_after(c, sub->from);
    if (pos < k->history) pos = k->history; /* what is in the store is not counted */
    if (!sub_filter(sub) && k->expiring <= sub->from) return k->head - pos;
    for (; pos < k->head; pos++) n += sub_wants(sub, chan_at(c, pos));
    return n;
}

bool sub_rests(const struct sub *sub) {
    return sub->stream->fan->now_ms < sub->rests_ms;
}

void sub_rest(const struct sub *sub) {
    if (!sub_rests(sub) || !sub_is_state(sub) || PLANTED(19)) return;
    uint64_t from = sub->from > sub->joined ? sub->from : sub->joined;
    if (sub->audience->last > from) audience_keep(sub->stream->fan, sub->audience, from);
}
