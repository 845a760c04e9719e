/* Opening streams and changing what they follow; see stream_open.h. */
#include "fan/stream_open.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"
#include "fan/control.h"
#include "fan/fan_state.h"
#include "fan/feed.h"
#include "fan/history.h"

#include <assert.h>

void stream_deinit(struct stream *s) {
    ASSERT_OWNER(s->fan->loop);
    list_remove(&s->ready);
    history_leave(s);
    while (s->subs) sub_free(s, &s->subs);
    stream_drop_notes(s);
    feed_free(s->feed);
    s->feed = NULL;
}

/* The oldest event of the history in memory; 0: none. */
static uint64_t oldest_held(const struct chan *c) {
    return c->kept->history < c->kept->head ? chan_at(c, c->kept->history)->seq : 0;
}

/* The oldest event that is left of a channel; 0: none. */
static uint64_t oldest_left(const struct chan *c) {
    return chan_beyond(c) ? c->kept->floor + 1 : oldest_held(c);
}

/* ---- Opening ------------------------------------------------------------------------ */

/* What was decided about each subscription, in the order of the plan. 'passes': the cursor
 * lies beyond a loss that the client has no notice of yet. Then only the last reset carries it, so
 * that a cut between hello and a reset brings the client back with the id it came with. */
struct verdict {
    struct sub *subs[STREAM_CHANNELS_MAX];
    enum reset_reason reasons[STREAM_CHANNELS_MAX];
    int32_t rewinds[STREAM_CHANNELS_MAX];
    uint32_t resets;
    bool resumed, passes;
};

/* Whether the client's own id is of this log. */
static bool is_ours(const struct stream *s, const struct eventid *id) {
    return id->kind == EVENTID_GOOD && strcmp(id->epoch, s->fan->epoch) == 0 &&
           id->seq <= atomic_load_explicit(s->fan->log_head, memory_order_acquire);
}

/* ... and not below the cursor. */
static bool is_reached(const struct stream *s, const struct eventid *id) {
    return is_ours(s, id) && s->cursor <= id->seq;
}

/* The longest period that its states have. */
static uint64_t longest_period(const struct stream *s) {
    uint64_t period = 0;
    for (const struct sub *sub = s->subs; sub; sub = sub->next) {
        if (!sub_is_state(sub)) continue;
        uint64_t own = sub_chan(sub)->policy->period_ms;
        uint64_t asked = sub->audience->key.asked_ms;
        if (own > period) period = own;
        if (asked > period) period = asked;
    }
    return period;
}

/* Counts what is pending: of logs in *replay, of each state as a member of JSON. */
static int count_pending(struct stream *s, struct buf *states, uint64_t *replay) {
    int err = 0;
    for (struct sub *sub = s->subs; sub && err == 0; sub = sub->next) {
        uint64_t n = sub_pending(sub);
        if (!sub_is_state(sub)) {
            *replay += n;
            sub->counted -= (uint32_t)n; /* wanted before it came, and still to be sent */
        } else {
            err = buf_addf(states, "%s\"%s\":%llu", states->n ? "," : "",
                           sub_chan(sub)->name, (unsigned long long)n);
        }
    }
    return err;
}

static int write_hello(struct buf *b, struct stream *s, const struct stream_opening *o,
                       const struct verdict *v) {
    struct buf states = {0};
    uint64_t period = longest_period(s);
    struct control_hello hello = {.client = o->client,
                                  .resumed = v->resumed && !s->seeks,
                                  .channels = s->n_subs,
                                  .heartbeat = o->heartbeat,
                                  .share = o->share,
                                  .max_rate = period ? 1000.0 / (double)period : 0,
                                  .has_id = !v->passes && s->n_subs > 0,
                                  .id = PLANTED(3) ? s->fan->head : s->cursor};
    if (s->seeks)
        hello.id = UINT64_MAX; /* this and "false" keep the room: stream_begin */
    int err = count_pending(s, &states, &hello.replay);
    hello.states = buf_slice(&states);
    if (err == 0) err = control_hello(b, s->fan->epoch, &hello);
    buf_free(&states);
    return err;
}

/* The lowest number that may still be sent, less one; never below the id that the client
 * came with, if it is of this log. */
static uint64_t lowest(const struct stream *s, const struct eventid *id) {
    uint64_t low = UINT64_MAX;
    bool good = id->kind == EVENTID_GOOD && strcmp(id->epoch, s->fan->epoch) == 0 &&
                id->seq <= s->fan->head;
    for (const struct sub *sub = s->subs; sub; sub = sub->next)
        if (!sub_is_apart(sub) && !sub->seeks && sub->from < low) low = sub->from;
    if (low == UINT64_MAX) return s->fan->head;
    return good && low < id->seq && !PLANTED(29) ? id->seq : low;
}

static int write_resets(struct buf *b, struct stream *s, const struct eventid *last_id,
                        const struct verdict *v) {
    struct buf from = {0};
    int err = control_came_from(&from, last_id);
    uint32_t left = v->resets;
    for (uint32_t i = 0; left > 0 && err == 0; i++) {
        if (!v->reasons[i]) continue;
        const struct chan *c = sub_chan(v->subs[i]);
        struct control_reset reset = {.channel = chan_name(c),
                                      .reason = v->reasons[i],
                                      .from = buf_slice(&from),
                                      .oldest = oldest_left(c),
                                      .has_id = --left == 0 || !v->passes,
                                      .id = PLANTED(4) ? s->fan->head : s->cursor};
        err = control_reset(b, s->fan->epoch, &reset);
    }
    buf_free(&from);
    return err;
}

#define HELLO_USUAL 256 /* bytes */

static int write_preamble(struct buf *b, const struct stream *s,
                          const struct stream_opening *o) {
    int err = buf_reserve(b, HELLO_USUAL);
    if (err < 0 || o->preamble_out) return err;
    err = stream_head(s, b, o->retry_ms);
    return err == 0 && s->plain ? buf_adds(b, "\n") : err;
}

/* What ends its opening, behind all that is pending now, of logs and states: a sync. No count in
 * hello could say as much. */
static bool says_opened(const struct stream *s) {
    return !s->plain && s->n_subs > 0;
}

/* What a stream begins with. A plain one gets comments alone. */
static int queue_opening(struct stream *s, const struct stream_opening *o,
                         const struct verdict *v) {
    struct buf text = {0};
    int err = write_preamble(&text, s, o);
    size_t preamble = text.n;
    if (err == 0) err = write_hello(&text, s, o, v);
    if (err == 0) err = write_resets(&text, s, &o->last_id, v);
    if (s->plain) text.n = s->feed ? 0 : preamble;
    uint64_t id = s->plain ? 0 : s->cursor, after = s->feed ? s->fan->head : NOTE_FIRST;
    struct note *note =
        err == 0 ? note_new(s, buf_slice(&text), after, id, STREAM_GOES_ON) : NULL;
    buf_free(&text);
    bool follows = says_opened(s) && !s->seeks; /* else in stream_begin */
    uint64_t least = s->cursor; /* this thread may be behind it, and behind the client */
    if (is_ours(s, &o->last_id) && o->last_id.seq > least) least = o->last_id.seq;
    struct note *sync = note && follows ? note_new_sync(s, least) : NULL;
    if (!note || (follows && !sync)) {
        mem_free(note);
        return err == 0 ? E_NOMEM : err;
    }
    note->waits = s->seeks;
    note->resumes = s->seeks && v->resumed && !s->plain;
    stream_add_note(s, note);
    if (sync) stream_add_note(s, sync);
    return 0;
}

/* The end of a hello: its id and the blank line, in place of 'room' bytes with another one. */
static void write_id(struct stream *s, struct note *note, uint64_t id, size_t room) {
    char bytes[EPOCH_LENGTH + 32];
    struct buf line = {.p = bytes, .cap = sizeof bytes}; /* never grows */
    int err = control_id_line(&line, s->fan->epoch, id);
    if (err == 0) err = buf_adds(&line, "\n");
    assert(err == 0 && line.n <= room && note->n >= room);
    (void)err;
    memcpy(note->text + note->n - room, line.p, line.n);
    note->n -= (uint32_t)(room - line.n);
    s->note_bytes -= (uint32_t)(room - line.n);
    note->id = id;
}

/* The store has what the client missed: "resumed" becomes true. */
static void write_resumed(struct stream *s, struct note *note) {
    static const char is[] = "\"resumed\":false", be[] = "\"resumed\":true";
    size_t at = 0, n = sizeof is - 1, less = sizeof is - sizeof be;
    while (at + n < note->n && memcmp(note->text + at, is, n) != 0) at++;
    assert(at + n < note->n);
    memcpy(note->text + at, be, n - less);
    memmove(note->text + at + n - less, note->text + at + n, note->n - at - n);
    note->n -= (uint32_t)less;
    s->note_bytes -= (uint32_t)less;
}

void stream_begin(struct stream *s) {
    ASSERT_OWNER(s->fan->loop);
    static const size_t room = sizeof "id: -18446744073709551615\n\n" - 1 + EPOCH_LENGTH;
    struct note *note = stream_note(s);
    while (note && !note->waits) note = stream_next_note(s, note);
    s->seeks = false;
    if (!note) return; /* an end by right took it back */
    note->waits = false;
    s->opened = true;
    if (note->resumes && (s->resets == 0 || PLANTED(46))) write_resumed(s, note);
    if (!s->plain) write_id(s, note, PLANTED(37) ? s->fan->head : s->cursor, room);
    if (s->plain || s->ending)
        return; /* it had channels when it opened, also if none is left */
    struct note *sync = note_new_sync(s, s->cursor);
    if (sync) stream_add_note(s, sync);
    else stream_bye(s, END_OVERLOAD); /* it comes back, and gets it then */
}

static int32_t rewind_of(const struct sub *sub, const struct sub_spec *spec) {
    const struct feed *feed = sub->stream->feed;
    if (feed) return feed->at_end ? 0 : REWIND_ALL;
    return spec->rewind == REWIND_DEFAULT ? sub_chan(sub)->policy->rewind : spec->rewind;
}

/* It goes on where only the store has what follows, and may have deleted some of it. */
static bool is_unsure(const struct verdict *v, const struct sub *sub) {
    return v->resumed && !sub_is_state(sub) && !sub->seeks && !sub->snapshot &&
           history_has(sub, sub->from);
}

/* Ask where those start of which the store has to say it, and whether the others miss
 * nothing. */
static void seek_places(struct stream *s, const struct verdict *v, uint32_t n) {
    for (uint32_t i = 0; i < n && s->seeks; i++)
        if (v->subs[i]->seeks) history_seek(v->subs[i], (uint32_t)v->rewinds[i]);
        else if (is_unsure(v, v->subs[i])) history_judge(v->subs[i]);
}

/* Whether its channel can be read so, and why not from there. The newest event, which may have
 * closed the log, is walked once more where only the store has it. */
static int judge_feed(struct stream *s, const struct verdict *v) {
    struct sub *sub = s->subs;
    const struct chan *c = sub_chan(sub);
    if (s->n_subs != 1 || !feed_fits(c)) return E_INVAL;
    s->feed->lost = v->reasons[0];
    if (s->feed->from == 0 || s->feed->lost) return 0;
    uint64_t from = feed_look_from(s->feed, &s->fan->chans, c, sub->from);
    if (from < sub->from) sub->from = s->cursor = from;
    return 0;
}

/* What its opening told of a subscription, if it was a reset. */
static void report_reset(struct stream *s, const struct verdict *v, uint32_t i,
                         const struct eventid *came) {
    if (!v->reasons[i]) return;
    const struct chan *c = sub_chan(v->subs[i]);
    struct loss loss = {.channel = chan_name(c),
                        .reason = v->reasons[i],
                        .from = came->seq,
                        .oldest = oldest_left(c),
                        .came = came};
    if (loss.reason == RESET_TRIMMED)
        loss.by = chans_lost_by(&s->fan->chans, c, came->seq);
    stream_count_reset(s, &loss);
}

int stream_open(struct stream *s, const struct stream_opening *o) {
    ASSERT_OWNER(s->fan->loop);
    struct verdict v = {.resumed = o->last_id.kind != EVENTID_NONE};
    uint32_t n = 0;
    int err = o->plan.n > STREAM_CHANNELS_MAX ? E_FULL : 0;
    stream_wake(s);
    s->plain = o->plan.options.plain;
    if (o->ask) s->feed = feed_new(o->feed_plan, o->ask, &s->fan->random);
    for (uint32_t i = 0; i < o->plan.n && err == 0; i++) {
        if (stream_find(s, o->plan.subs[i].channel))
            continue; /* named twice: once is enough */
        err = sub_new(s, &o->plan.subs[i], &v.subs[n]);
        if (err < 0) break;
        v.rewinds[n] = rewind_of(v.subs[n], &o->plan.subs[i]);
        v.reasons[n] = sub_start(v.subs[n], v.rewinds[n], &o->last_id, &v.resumed);
        v.resets += v.reasons[n] != RESET_NONE;
        s->seeks = s->seeks || v.subs[n]->seeks;
        n++;
    }
    s->cursor = lowest(s, &o->last_id);
    s->written_ms = (uint32_t)s->fan->now_ms;
    v.resumed = v.resumed && s->n_subs > 0;
    for (uint32_t i = 0; i < n; i++) s->seeks = s->seeks || is_unsure(&v, v.subs[i]);
    s->came_back = o->last_id.kind != EVENTID_NONE && s->n_subs == 0;
    s->heard =
        o->last_id.kind != EVENTID_GOOD || strcmp(o->last_id.epoch, s->fan->epoch) != 0;
    v.passes = v.resets > 0 && !PLANTED(12) && !is_reached(s, &o->last_id);
    if (err == 0 && s->feed) err = judge_feed(s, &v);
    if (err == 0 && s->plain && v.resets > 0 && !PLANTED(304)) err = E_TRIMMED;
    if (err == 0) err = queue_opening(s, o, &v);
    if (err < 0) {
        while (s->subs) sub_free(s, &s->subs);
        s->seeks = false;
        return err;
    }
    seek_places(s, &v, n);
    s->opened = s->n_subs > 0 && !s->seeks;
    for (uint32_t i = 0; i < n; i++) report_reset(s, &v, i, &o->last_id);
    return 0;
}

static int32_t rewind_in(const struct plan *plan, struct slice channel) {
    for (uint32_t i = 0; i < plan->n; i++)
        if (slice_eq(plan->specs[i].channel, channel)) return plan->specs[i].rewind;
    return REWIND_DEFAULT;
}

struct plan *stream_plan(const struct stream *s, const struct plan *opened) {
    struct sub_spec specs[STREAM_CHANNELS_MAX];
    uint32_t i = s->n_subs; /* the newest is the first */
    for (const struct sub *sub = s->subs; sub; sub = sub->next) {
        struct sub_spec *spec = &specs[--i];
        *spec = (struct sub_spec){.channel = chan_name(sub_chan(sub)),
                                  .period_ms = (uint32_t)sub->audience->key.asked_ms};
        spec->rewind = rewind_in(opened, spec->channel);
        filter_lists(sub_filter(sub), &spec->types, &spec->keys);
    }
    return plan_new(&(struct plan_spec){specs, s->n_subs, opened->options});
}

/* ---- Changing an open stream -------------------------------------------------------- */

/* Notes that are queued together or not at all. */
struct batch {
    struct buf text;
    struct note *first, **end;
};

static int batch_add(struct batch *b, struct note *note) {
    if (!note) return E_NOMEM;
    *b->end = note;
    b->end = &note->next;
    return 0;
}

/* What the text holds becomes a note, when it is of a fair size or the last. */
static int batch_cut(struct batch *b, const struct stream *s, bool last) {
    if (b->text.n == 0 || (!last && b->text.n < GATHER_BYTES_MAX / 2)) return 0;
    int err =
        batch_add(b, note_new(s, buf_slice(&b->text), s->fan->head, 0, STREAM_GOES_ON));
    b->text.n = 0;
    return err;
}

static int batch_event(struct batch *b, const struct sub *sub, const struct frame *f) {
    if (!sub_wants(sub, f)) return 0;
    int err = frame_add_without_id(f, &b->text);
    return err < 0 ? err : batch_cut(b, sub->stream, false);
}

/* A client that came back to a stream without channels cannot be resumed by its id. */
static int queue_reset(struct stream *s, const struct chan *c) {
    struct buf text = {0};
    struct control_reset r = {.channel = chan_name(c),
                              .reason = RESET_UNKNOWN_ID,
                              .from = slice_str("null"),
                              .oldest = oldest_left(c)};
    int err = control_reset(&text, s->fan->epoch, &r);
    if (err == 0) err = stream_queue(s, buf_slice(&text), NOTE_FIRST, 0, STREAM_GOES_ON);
    buf_free(&text);
    stream_count_reset(
        s, &(struct loss){.channel = r.channel, .reason = r.reason, .oldest = r.oldest});
    return err;
}

/* The newest per key, at this point of the order. */
static int batch_newest(struct batch *b, const struct sub *sub) {
    const struct latest *l = sub_chan(sub)->kept->latest;
    int err = 0;
    uint32_t i = latest_after(l, 0);
    for (; i < l->n && err == 0; i = latest_next(l, i))
        err = batch_event(b, sub, latest_at(l, i));
    return err < 0 ? err : batch_cut(b, sub->stream, true);
}

/* What confirms a subscription to a log: a sync, behind what it begins with. */
static int queue_start(struct stream *s, const struct sub *sub) {
    struct batch b = {0};
    b.end = &b.first;
    int err = 0;
    if (s->came_back && !s->plain) err = queue_reset(s, sub_chan(sub));
    if (err == 0 && sub->snapshot) err = batch_newest(&b, sub);
    if (err == 0 && !s->plain) err = batch_add(&b, note_new_sync(s, 0));
    buf_free(&b.text);
    while (b.first) {
        struct note *note = b.first;
        b.first = note->next;
        if (err == 0) stream_add_note(s, note);
        else mem_free(note);
    }
    return err;
}

int stream_subscribe(struct stream *s, const struct sub_spec *spec) {
    ASSERT_OWNER(s->fan->loop);
    if (s->ending || s->feed) return E_CLOSED;
    if (stream_find(s, spec->channel)) return 0;
    if (s->n_subs == STREAM_CHANNELS_MAX) return E_FULL;
    stream_wake(s); /* it lags from now on: its cursor is written down */
    if (s->n_subs == 0) s->cursor = s->fan->head; /* no epoch that ended has moved it */
    struct sub *sub;
    int err = sub_new(s, spec, &sub);
    if (err < 0) return err;
    int32_t rewind = rewind_of(sub, spec);
    /* After that reset it gets what is left. */
    if (s->came_back && rewind != REWIND_LATEST) rewind = REWIND_ALL;
    sub_start_newcomer(sub, rewind);
    if (sub_is_apart(sub)) return 0;
    if (s->plain && s->came_back) stream_break(s, END_SLOW, BY_LOSS);
    err = queue_start(s, sub);
    if (err < 0) {
        sub_free(s, &s->subs); /* the newest is the first */
        return err;
    }
    s->opened = s->opened || !s->seeks;
    if (sub->snapshot) sub->from = s->fan->head; /* that is in notes */
    sub->snapshot = false;
    sub->behind = sub->from < s->fan->head;
    if (sub->seeks) history_seek(sub, (uint32_t)rewind);
    return 0;
}

bool stream_unsubscribe(struct stream *s, struct slice channel) {
    ASSERT_OWNER(s->fan->loop);
    for (struct sub **at = &s->subs; *at; at = &(*at)->next) {
        if (!slice_eq(chan_name(sub_chan(*at)), channel)) continue;
        history_forget(*at);
        sub_free(s, at);
        return true;
    }
    return false;
}

/* Where all subscriptions would go; with an error none goes. */
static int reserve_all(struct stream *s, const struct sub_spec *wanted,
                       struct audience **to) {
    uint32_t n = 0;
    int err = 0;
    for (struct sub *sub = s->subs; sub && err == 0; sub = sub->next) {
        err = sub_reserve(sub, wanted, &to[n]);
        n += err == 0;
    }
    while (err < 0 && n > 0) audience_release(s->fan, to[--n]);
    return err;
}

int stream_set(struct stream *s, const struct sub_spec *wanted) {
    ASSERT_OWNER(s->fan->loop);
    struct audience *to[STREAM_CHANNELS_MAX] = {0};
    int err = reserve_all(s, wanted, to);
    if (err < 0) return err;
    stream_wake(s);
    uint32_t n = 0;
    for (struct sub *sub = s->subs; sub; sub = sub->next) {
        sub_move(sub, to[n++]);
        s->filtered = s->filtered || sub_filter(sub);
    }
    return 0;
}
