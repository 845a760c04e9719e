/* Fills, epochs and marks; see shared.h. */
#include "fan/shared.h"

#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"
#include "fan/control.h"
#include "fan/feed.h"
#include "fan/history.h"
#include "fan/sub.h"

#include <stdio.h>

void fan_share(struct fan *fan) {
    fan->chans.in_redis = true;
}

/* ---- Fills ---------------------------------------------------------------------------- */

static void settle(struct sub *sub) {
    stream_wake(sub->stream);
}

/* What its audience may have pending is a matter of its own place now. */
static void refilled(struct sub *sub) {
    sub->audience->last = sub_chan(sub)->kept->last;
    sub->audience->news = false;
}

static void tell_trimmed(struct sub *sub) {
    const struct chan *c = sub_chan(sub);
    if (sub_is_apart(sub)) return;
    stream_reset(sub->stream, &(struct loss){.channel = chan_name(c),
                                             .reason = RESET_TRIMMED,
                                             .from = stream_cursor(sub->stream, sub),
                                             .oldest = chan_oldest(c, 0)});
}

static void tell_failover(struct sub *sub) {
    const struct chan *c = sub_chan(sub);
    if (sub_is_apart(sub)) return;
    stream_reset(sub->stream, &(struct loss){.channel = chan_name(c),
                                             .reason = RESET_FAILOVER,
                                             .from = stream_cursor(sub->stream, sub),
                                             .oldest = chan_oldest(c, 0)});
}

/* It gets all values that are left. */
static void lose_value(struct sub *sub, enum reset_reason reason) {
    struct stream *s = sub->stream;
    stream_reset(s, &(struct loss){.channel = chan_name(sub_chan(sub)),
                                   .reason = reason,
                                   .from = stream_cursor(s, sub)});
    if (!sub_is_state(sub)) {
        sub_replay(sub);
        return;
    }
    sub->from = 0;
    sub->joined = s->fan->head;
}

static void tell_missed_value(struct sub *sub) {
    lose_value(sub, RESET_TRIMMED);
}

static void tell_lost_value(struct sub *sub) {
    lose_value(sub, RESET_FAILOVER);
}

/* Marks that have come: the newest number, and the newest of another node. */
struct marks {
    uint64_t newest, of_others;
    bool filled; /* with a fill: who has passed them knows */
};

/* Nor are those told that heard of the epoch here, by what they know then. */
static void tell_marks(struct sub *sub) {
    const struct stream *s = sub->stream;
    const struct marks *m = s->fan->marks;
    uint64_t at = m->filled ? stream_cursor(s, sub) : 0;
    uint64_t known = PLANTED(643) ? UINT64_MAX : s->fan->joined;
    bool news = s->heard && !PLANTED(642) ? m->of_others > known && at < m->of_others
                                          : at < m->newest;
    if (news) tell_failover(sub);
}

/* Its channel was one of this node alone until a while ago: it goes on where that ended, although its
 * stream may be further in other logs. */
static void begin_filled(struct sub *sub) {
    const struct chan *c = sub_chan(sub);
    uint64_t head = sub->stream->fan->head, floor = c->kept->floor;
    if (c->kind == CHANNEL_KEYED) {
        sub_replay(sub);
        return;
    }
    sub->from = sub_is_state(sub) ? 0 : sub->joined;
    if (!sub_is_state(sub) && sub->from < floor) {
        sub->from = floor;
        tell_trimmed(sub);
    }
    sub->joined = head;
    sub->behind = !sub_is_state(sub) && sub->from < head;
}

/* Values that went with the end of an epoch are back. Its client may have what was left of the others, told of
 * that end or new since it: the log goes on from there, as what is removed behind it is news. */
static void replay_returned(struct sub *sub) {
    uint64_t joined = sub->joined;
    sub_replay(sub);
    sub->joined = joined;
}

/* What was loaded when its channel was one of all nodes. */
static bool is_late(struct fan *fan, struct chan *c) {
    if (!c->policy->local) return false;
    chans_release(&fan->chans, c);
    return true;
}

static void fill_one(struct fan *fan, const struct fan_fill *fill) {
    struct chan *c;
    if (chans_get(&fan->chans, fill->channel, &c) < 0 || is_late(fan, c)) return;
    bool ended = c->kept->ended, unfilled = c->unfilled;
    bool loses_value = chan_refill(c, &fill->chan) && !PLANTED(639);
    audiences_each_sub(c, refilled);
    if (unfilled && !PLANTED(675)) {
        audiences_each_sub(c, begin_filled);
        return;
    }
    if (ended && c->kind == CHANNEL_KEYED) audiences_each_sub(c, replay_returned);
    else if (loses_value)
        audiences_each_sub(c, ended ? tell_lost_value : tell_missed_value);
    if (fill->lost) audiences_each_sub(c, tell_trimmed);
    else if (fill->chan.marked > 0 && !PLANTED(638)) {
        fan->marks = &(struct marks){fill->chan.marked, fill->marked_by_others, true};
        audiences_each_sub(c, tell_marks);
        fan->marks = NULL;
    }
}

/* First all streams write down where they are: with the head that was before. */
void fan_fill(struct fan *fan, const struct fan_fill *fills, uint32_t n) {
    ASSERT_OWNER(fan->loop);
    cache_clear(&fan->cache);
    for (uint32_t i = 0; i < n && !PLANTED(633); i++) {
        struct chan *c = chans_find(&fan->chans, fills[i].channel);
        if (c) audiences_each_sub(c, settle);
    }
    for (uint32_t i = 0; i < n; i++)
        if (fills[i].upto > fan->head) fan->head = fills[i].upto;
    for (uint32_t i = 0; i < n; i++) fill_one(fan, &fills[i]);
}

/* ---- Epochs --------------------------------------------------------------------------- */

/* The epoch that ends. */
struct ended {
    const char *epoch;
    uint64_t head, base;
};

static uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static void move_back(struct sub *sub, uint64_t base) {
    if (sub_is_local(sub) && !PLANTED(676)) return;
    sub->snapshot = sub->confirm = sub->behind = false;
    if (sub_chan(sub)->kind == CHANNEL_KEYED) history_forget(sub);
    sub->from = sub_is_state(sub) ? 0 : least(sub->from, base);
    sub->joined = least(sub->joined, base);
    if (sub_chan(sub)->kind == CHANNEL_KEYED) sub_replay(sub);
}

/* One reset, where the stream is: what it has not got yet has ids of the new epoch. The last of a stream
 * carries its first. */
static int queue_reset(struct stream *s, const struct sub *sub, const struct ended *old,
                       bool is_last) {
    struct buf text = {0}, id = {0};
    uint64_t at = least(s->cursor, old->base);
    int err = control_id_json(&id, old->epoch, at);
    struct control_reset reset = {.channel = chan_name(sub_chan(sub)),
                                  .reason = RESET_FAILOVER,
                                  .from = buf_slice(&id),
                                  .oldest = chan_oldest(sub_chan(sub), 0),
                                  .has_id = is_last || PLANTED(630),
                                  .id = at};
    if (err == 0) err = control_reset(&text, s->fan->epoch, &reset);
    struct note *note = NULL;
    if (err == 0)
        note = note_new(s, buf_slice(&text), PLANTED(636) ? old->head : at,
                        reset.has_id ? at : 0, STREAM_GOES_ON);
    if (err == 0 && !note) err = E_NOMEM;
    if (note) {
        note->ends_epoch = true;
        stream_add_note(s, note);
    }
    buf_free(&id);
    buf_free(&text);
    return err;
}

static void tell(struct stream *s, const struct sub *sub, const struct ended *old,
                 bool is_last) {
    struct loss loss = {.channel = chan_name(sub_chan(sub)),
                        .reason = RESET_FAILOVER,
                        .from = least(s->cursor, old->base),
                        .oldest = chan_oldest(sub_chan(sub), 0)};
    stream_count_reset(s, &loss);
    if (s->feed) s->feed->lost = loss.reason;
    if (s->plain) stream_break(s, reason_reset(loss.reason)->plain, BY_LOSS);
    else if (queue_reset(s, sub, old, is_last) < 0) stream_bye(s, END_OVERLOAD);
}

/* Ids that are not out yet are of the epoch that ends, and of what is lost with it: they go. Notes without
 * one wait for what is left alone: the numbers above that may be given again, and the cursor passes all that
 * a note waits for. True: a sync has to say the new id, behind the resets. */
static bool drop_ids(struct stream *s, uint64_t base) {
    struct note *kept = NULL, **end = &kept;
    bool dropped = false;
    while (s->last_note) {
        struct note *note = stream_take_note(s);
        bool is_void = note->after > base && note->id > 0 && note->end == STREAM_GOES_ON;
        dropped = dropped || is_void;
        if (is_void) {
            mem_free(note);
            continue;
        }
        note->after = least(note->after, base);
        note->next = NULL;
        *end = note;
        end = &note->next;
    }
    while (kept) {
        struct note *note = kept;
        kept = note->next;
        stream_add_note(s, note);
    }
    return dropped;
}

/* The whole stream goes back at once. */
static void fail_over(struct stream *s, const struct ended *old) {
    uint32_t logs = 0;
    stream_wake(s);
    bool owes_sync = drop_ids(s, old->base);
    if (owes_sync && PLANTED(641)) stream_sync(s);
    for (struct sub *sub = s->subs; sub; sub = sub->next) logs += !sub_is_apart(sub);
    for (struct sub *sub = s->subs; sub && !s->ending; sub = sub->next)
        if (!sub_is_apart(sub)) tell(s, sub, old, --logs == 0);
    if (owes_sync && !s->ending && !PLANTED(641)) stream_sync(s);
    s->cursor = least(s->cursor, old->base);
    for (struct sub *sub = s->subs; sub; sub = sub->next) move_back(sub, old->base);
    s->written = 0; /* an id of the epoch that has ended */
    s->heard = true;
}

static void fail_over_first(struct sub *sub) {
    struct stream *s = sub->stream;
    if (sub == s->subs) fail_over(s, s->fan->ended);
}

static void cut(struct fan *fan, const struct ended *old) {
    fan->ended = old;
    for (struct chan *c = NULL; (c = chans_next(&fan->chans, c));)
        audiences_each_sub(c, fail_over_first);
    fan->ended = NULL;
    for (struct chan *c = NULL; (c = chans_next(&fan->chans, c));) {
        if (c->policy->local) continue;
        chan_cut(c, old->base);
        audiences_each_sub(c, refilled);
    }
}

static void void_pages(struct sub *sub) {
    if (sub == sub->stream->subs && !PLANTED(681)) history_void(sub->stream);
}

static void void_all(struct fan *fan) {
    for (struct chan *c = NULL; (c = chans_next(&fan->chans, c));)
        audiences_each_sub(c, void_pages);
}

void fan_epoch(struct fan *fan, const struct fan_epoch *e) {
    ASSERT_OWNER(fan->loop);
    char before[EPOCH_LENGTH + 1];
    struct ended old = {before, fan->head, e->base};
    void_all(fan);
    snprintf(before, sizeof before, "%s", fan->epoch);
    snprintf(fan->epoch, sizeof fan->epoch, "%s", e->epoch);
    if (fan->head > e->base) fan->head = e->base;
    fan->lineage = *e->lineage;
    fan->marked = e->marked;
    fan->joined = e->joined;
    cache_clear(&fan->cache);
    if (e->base == UINT64_MAX) {
        fan->head = e->head;
        return;
    }
    cut(fan, &old);
}

/* ---- Marks ---------------------------------------------------------------------------- */

void fan_mark(struct fan *fan, const struct fan_mark *mark) {
    ASSERT_OWNER(fan->loop);
    bool of_all = mark->channel.n == 0;
    struct chan *c = of_all ? NULL : chans_find(&fan->chans, mark->channel);
    fan->marks = &(struct marks){mark->seq, mark->own ? 0 : mark->seq, false};
    if (mark->seq > fan->head) fan->head = mark->seq;
    if (of_all) fan->marked = mark->seq;
    if (c) {
        chan_keep(c)->marked = mark->seq;
        audiences_each_sub(c, tell_marks);
    }
    for (struct chan *any = NULL; of_all && (any = chans_next(&fan->chans, any));)
        audiences_each_sub(any, tell_marks);
    fan->marks = NULL;
}
