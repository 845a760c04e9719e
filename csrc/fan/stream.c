/* Opening streams, and what they are told; how they are served is gather.c. */
#include "fan/stream.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"
#include "fan/control.h"
#include "fan/fan.h"
#include "fan/tally.h"

#include <assert.h>
static void drop_notes(struct stream *s) {
    while (s->notes) {
        struct note *note = s->notes;
        s->notes = note->next;
        mem_free(note);
    }
    s->notes_end = &s->notes;
    s->note_bytes = 0;
}

void stream_init(struct stream *s, struct fan *fan) {
    *s = (struct stream){.fan = fan, .behind = true, .behind_ms = fan->now_ms};
    s->notes_end = &s->notes;
    list_init(&s->ready);
}

void stream_deinit(struct stream *s) {
    list_remove(&s->ready);
    while (s->subs) sub_free(s, &s->subs);
    drop_notes(s);
}

struct sub *stream_find(const struct stream *s, struct slice channel) {
    struct sub *sub = s->subs;
    while (sub && !slice_eq(sub_chan(sub)->node.key, channel)) sub = sub->next;
    return sub;
}

/* ---- Notes -------------------------------------------------------------------------- */

/* Put a note behind those that go out at the same place or before. */
static void add_note(struct stream *s, struct note *note) {
    struct note **at = s->notes_end;
    if (s->notes && note->after < container_of(at, struct note, next)->after)
        for (at = &s->notes; (*at)->after <= note->after;) at = &(*at)->next;
    note->next = *at;
    *at = note;
    if (!note->next) s->notes_end = &note->next;
    s->note_bytes += note->n;
}

static struct note *note_new(struct slice text, uint64_t after, uint64_t id,
                             enum stream_end end) {
    struct note *note = mem_try(sizeof *note + text.n);
    if (!note) return NULL;
    if (PLANTED(9)) after = 0;
    *note = (struct note){.after = after, .id = id, .end = end, .n = (uint32_t)text.n};
    if (text.n > 0) memcpy(note->text, text.p, text.n);
    return note;
}

static int queue_note(struct stream *s, struct slice text, uint64_t after, uint64_t id,
                      enum stream_end end) {
    struct note *note = note_new(text, after, id, end);
    if (note) add_note(s, note);
    return note ? 0 : E_NOMEM;
}

int stream_note(struct stream *s, struct slice text, uint64_t id, enum stream_end end) {
    return queue_note(s, text, s->fan->head, id, end);
}

/* The oldest event that is left of a channel; 0: none. */
static uint64_t oldest_left(const struct chan *c) {
    return c->history < c->head ? chan_at(c, c->history)->seq : 0;
}

static void count_reset(struct stream *s, struct slice channel,
                        enum reset_reason reason) {
    if (s->resets < UINT16_MAX) s->resets++;
    tally_reset(s->fan, channel, reason);
}

/* A plain stream can be told nothing: it breaks off, and its client comes back. */
static void stream_break(struct stream *s, enum end_reason reason) {
    stream_end(s, &(struct good_bye){.reason = reason, .breaks = true});
}

void stream_reset(struct stream *s, struct slice channel, enum reset_reason reason,
                  uint64_t from, uint64_t oldest) {
    fan_wake(s->fan, s);
    count_reset(s, channel, reason);
    if (s->plain) {
        stream_break(s, reason_reset(reason)->plain);
        return;
    }
    struct buf text = {0}, id = {0};
    int err = control_id_json(&id, s->fan->epoch, from);
    struct control_reset reset = {.channel = channel,
                                  .reason = reason,
                                  .from = buf_slice(&id),
                                  .oldest = oldest,
                                  .has_id = true,
                                  .id = PLANTED(4) ? s->fan->head : s->cursor};
    if (err == 0) err = control_reset(&text, s->fan->epoch, &reset);
    if (err == 0) /* first of all: what follows may be of that channel */
        err = queue_note(s, buf_slice(&text), 0, s->cursor, STREAM_GOES_ON);
    buf_free(&text);
    buf_free(&id);
    if (err < 0) stream_bye(s, END_OVERLOAD); /* it comes back, and is told then */
}

/* ---- Ends --------------------------------------------------------------------------- */

/* An end by right: nothing that waits goes out. What its socket has not begun to take comes
 * back, and with it goes its cursor: the client keeps the id that it has. False when the
 * stream has ended already, as far as its socket is concerned. */
static bool take_all_back(struct stream *s) {
    bool hello = s->notes && s->written == 0;
    if (s->blocked && s->fan->ops->take_back(s)) {
        s->ending = false;
        s->opened = PLANTED(23);
        fan_writable(s->fan, s);
    }
    if (s->ending && !s->notes) return false;
    if (hello) s->opened = false;
    drop_notes(s);
    return true;
}

/* The words: what the app says last, then bye. */
static int write_end(struct buf *b, const struct stream *s, const struct good_bye *bye,
                     uint64_t at) {
    int err = bye->word.n ? buf_add(b, bye->word.p, bye->word.n) : 0;
    if (err == 0 && bye->word.n && s->plain && reason_end(bye->reason)->stays_away)
        err = buf_adds(b, "id: stop\n");
    if (err == 0 && bye->word.n) err = buf_adds(b, "\n");
    if (err < 0 || s->plain || !reason_end(bye->reason)->told) return err;
    int64_t left_ms = s->fan->drained_ms - s->fan->now_ms;
    struct control_bye text = {.reason = bye->reason,
                               .retry_ms =
                                   reason_retry_ms(bye->reason, &s->fan->random, left_ms),
                               .status = bye->status,
                               .has_id = s->opened,
                               .id = at};
    return control_bye(b, s->fan->epoch, &text);
}

/* The last note. Without memory for its words the socket just ends. */
static void queue_end(struct stream *s, const struct buf *words, uint64_t after,
                      const struct good_bye *bye) {
    struct note *note = words ? mem_try(sizeof *note + words->n) : NULL;
    if (!note) words = NULL;
    if (!note) note = mem_new(sizeof *note);
    const struct end_row *row = reason_end(bye->reason);
    bool clean = words && !bye->breaks && (row->stays_away || s->ends_clean);
    bool at_once = row->place == END_AT_ONCE;
    *note = (struct note){.after = at_once ? 0 : after, /* first of all */
                          .end = clean ? STREAM_ENDS : STREAM_BREAKS,
                          .alone = at_once && !PLANTED(24),
                          .n = words ? (uint32_t)words->n : 0};
    if (note->n > 0) memcpy(note->text, words->p, note->n);
    add_note(s, note);
}

void stream_end(struct stream *s, const struct good_bye *bye) {
    enum end_place place = reason_end(bye->reason)->place;
    if (s->ending && place != END_AT_ONCE) return;
    fan_wake(s->fan, s);
    if (place == END_AT_ONCE && !take_all_back(s)) return;
    /* A stream that lost something it was not told about ends at its cursor, before any
     * later event: when it comes back it is told. */
    bool here = s->cursor > s->fan->head || place != END_AFTER_ALL;
    uint64_t at = here ? s->cursor : s->fan->head;
    s->ending = true;
    s->reason = bye->reason;
    struct buf words = {0};
    int err = write_end(&words, s, bye, at);
    queue_end(s, err == 0 ? &words : NULL, at, bye);
    buf_free(&words);
    s->fan->byes++;
}

void stream_bye(struct stream *s, enum end_reason reason) {
    stream_end(s, &(struct good_bye){.reason = reason});
}

int stream_send(struct stream *s, struct slice text) {
    if (s->ending) return E_CLOSED;
    int err = stream_note(s, text, 0, STREAM_GOES_ON);
    if (err == 0) fan_wake(s->fan, s);
    return err;
}

bool stream_wants_sync(const struct stream *s, int64_t now_ms) {
    if (s->behind || s->ending || s->plain || s->written >= s->fan->head) return false;
    bool logs = false;
    for (const struct sub *sub = s->subs; sub && !logs; sub = sub->next)
        logs = !sub_is_state(sub);
    return logs &&
           now_ms - s->written_ms >= (s->filtered ? SYNC_FILTERED_MS : SYNC_QUIET_MS);
}

static struct note *sync_new(const struct stream *s) {
    struct buf text = {0};
    uint64_t head = s->fan->head;
    struct note *note = NULL;
    if (control_sync(&text, s->fan->epoch, head) == 0)
        note = note_new(buf_slice(&text), head, head, STREAM_GOES_ON);
    buf_free(&text);
    return note;
}

void stream_sync(struct stream *s) {
    struct note *note = sync_new(s);
    if (!note) return; /* the next heartbeat tries again */
    add_note(s, note);
    fan_wake(s->fan, s);
}

/* ---- Opening ------------------------------------------------------------------------ */

/* What was decided about each subscription, in the order of the plan. 'passes': the cursor
 * lies beyond what the client is still to be told. Then only the last reset carries it, so
 * that a cut between hello and a reset brings the client back with the id it came with. */
struct verdict {
    struct sub *subs[STREAM_CHANNELS_MAX];
    enum reset_reason reasons[STREAM_CHANNELS_MAX];
    uint32_t resets;
    bool resumed, passes;
};

/* Whether the client's own id is of this log and not below the cursor. */
static bool is_reached(const struct stream *s, const struct eventid *id) {
    return id->kind == EVENTID_GOOD && strcmp(id->epoch, s->fan->epoch) == 0 &&
           id->seq <= atomic_load_explicit(s->fan->log_head, memory_order_acquire) &&
           s->cursor <= id->seq;
}

/* The lowest rate that its states have, as a member of hello. */
static int write_rate(struct buf *b, const struct stream *s) {
    uint64_t period = 0;
    for (const struct sub *sub = s->subs; sub; sub = sub->next) {
        if (!sub_is_state(sub)) continue;
        uint64_t own = sub_chan(sub)->policy.period_ms;
        uint64_t wish = sub->audience->place.wish_ms;
        if (own > period) period = own;
        if (wish > period) period = wish;
    }
    if (period == 0) return 0;
    int err = buf_adds(b, ",\"max_rate\":");
    return err == 0 ? buf_add_number(b, 1000.0 / (double)period) : err;
}

#define HELLO_USUAL 256 /* bytes */

static int write_hello(struct buf *b, struct stream *s, const struct stream_opening *o,
                       const struct verdict *v) {
    int err = 0;
    uint64_t replay = 0;
    struct buf states = {0};
    for (struct sub *sub = s->subs; sub && err == 0; sub = sub->next) {
        uint64_t n = sub_pending(sub);
        if (!sub_is_state(sub)) {
            replay += n;
            sub->seen -= (uint32_t)n; /* wanted before it came, and still to be sent */
        } else
            err = buf_addf(&states, "%s\"%s\":%llu", states.n ? "," : "",
                           sub_chan(sub)->name, (unsigned long long)n);
    }
    if (err == 0) err = buf_adds(b, "event: hello\n");
    if (err == 0)
        err = buf_addf(b, "data: {\"client\":\"%.*s\",\"epoch\":\"%s\",\"resumed\":%s,",
                       (int)o->client.n, o->client.p, s->fan->epoch,
                       v->resumed ? "true" : "false");
    if (err == 0)
        err = buf_addf(b, "\"replay\":%llu,\"state\":{%.*s},", (unsigned long long)replay,
                       (int)states.n, states.n ? states.p : "");
    if (err == 0) err = buf_addf(b, "\"channels\":%u,\"heartbeat\":", s->n_subs);
    if (err == 0) err = buf_add_number(b, o->heartbeat);
    if (err == 0) err = write_rate(b, s);
    if (err == 0) err = buf_adds(b, "}\n");
    if (err == 0 && !v->passes && s->n_subs > 0)
        err = control_id_line(b, s->fan->epoch, PLANTED(3) ? s->fan->head : s->cursor);
    if (err == 0) err = buf_adds(b, "\n");
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
        if (!sub_is_state(sub) && sub->from < low) low = sub->from;
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
        struct control_reset reset = {.channel = c->node.key,
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

static int write_preamble(struct buf *b, const struct stream_opening *o) {
    int err = buf_reserve(b, HELLO_USUAL);
    if (err < 0 || o->preamble_out) return err;
    return buf_addf(b, ":ok\nretry: %u\n%s", o->retry_ms,
                    o->plan.options.plain ? "\n" : "");
}

/* What a stream begins with. A plain one is told nothing but comments. */
static int queue_opening(struct stream *s, const struct stream_opening *o,
                         const struct verdict *v) {
    struct buf text = {0};
    int err = write_preamble(&text, o);
    size_t preamble = text.n;
    if (err == 0) err = write_hello(&text, s, o, v);
    if (err == 0) err = write_resets(&text, s, &o->last_id, v);
    if (s->plain) text.n = preamble;
    uint64_t id = s->plain ? 0 : s->cursor;
    if (err == 0) err = queue_note(s, buf_slice(&text), 0, id, STREAM_GOES_ON);
    buf_free(&text);
    return err;
}

int stream_open(struct stream *s, const struct stream_opening *o) {
    struct verdict v = {.resumed = o->last_id.kind != EVENTID_NONE};
    uint32_t n = 0;
    int err = o->plan.n > STREAM_CHANNELS_MAX ? E_FULL : 0;
    fan_wake(s->fan, s);
    s->plain = o->plan.options.plain;
    for (uint32_t i = 0; i < o->plan.n && err == 0; i++) {
        if (stream_find(s, o->plan.subs[i].channel))
            continue; /* named twice: once is enough */
        err = sub_new(s, &o->plan.subs[i], &v.subs[n]);
        if (err < 0) break;
        v.reasons[n] =
            sub_start(v.subs[n], o->plan.subs[i].rewind, &o->last_id, &v.resumed);
        v.resets += v.reasons[n] != RESET_NONE;
        n++;
    }
    s->cursor = lowest(s, &o->last_id);
    s->written_ms = s->fan->now_ms;
    v.resumed = v.resumed && s->n_subs > 0;
    s->came_back = o->last_id.kind != EVENTID_NONE && s->n_subs == 0;
    v.passes = v.resets > 0 && !PLANTED(12) && !is_reached(s, &o->last_id);
    if (err == 0 && s->plain && v.resets > 0) err = E_TRIMMED;
    if (err == 0) err = queue_opening(s, o, &v);
    if (err < 0) {
        while (s->subs) sub_free(s, &s->subs);
        return err;
    }
    s->opened = s->n_subs > 0;
    for (uint32_t i = 0; i < n; i++)
        if (v.reasons[i]) count_reset(s, sub_chan(v.subs[i])->node.key, v.reasons[i]);
    return 0;
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
        batch_add(b, note_new(buf_slice(&b->text), s->fan->head, 0, STREAM_GOES_ON));
    b->text.n = 0;
    return err;
}

static int batch_event(struct batch *b, const struct sub *sub, const struct frame *f) {
    if (!sub_wants(sub, f)) return 0;
    int err = frame_add_without_id(f, &b->text);
    return err < 0 ? err : batch_cut(b, sub->stream, false);
}

/* These notes are copies, so they have a bound: what is older is told, not sent. */
static uint64_t newest_that_fit(const struct chan *c, uint64_t asked) {
    _Static_assert(SUBSCRIBE_HISTORY_BYTES_MAX > FRAME_BYTES_MAX, "the newest one fits");
    uint64_t i = c->head;
    for (size_t bytes = 0; i > asked; i--) {
        bytes += chan_at(c, i - 1)->body.n;
        if (bytes > SUBSCRIBE_HISTORY_BYTES_MAX) break;
    }
    return i;
}

static int batch_reset(struct batch *b, const struct sub *sub, enum reset_reason reason,
                       uint64_t oldest) {
    struct control_reset r = {.channel = sub_chan(sub)->node.key,
                              .reason = reason,
                              .from = slice_str("null"),
                              .oldest = oldest};
    int err = control_reset(&b->text, sub->stream->fan->epoch, &r);
    count_reset(sub->stream, r.channel, reason);
    return err < 0 ? err : batch_cut(b, sub->stream, true);
}

/* History that was asked for on an open stream: its numbers lie behind the cursor, so
 * it comes without ids. */
static int batch_history(struct batch *b, const struct sub *sub) {
    const struct chan *c = sub_chan(sub);
    int err = 0;
    if (sub->snapshot) {
        uint32_t i = latest_after(c->latest, 0);
        for (; i < c->latest->n && err == 0; i = latest_next(c->latest, i))
            err = batch_event(b, sub, latest_at(c->latest, i));
    } else {
        uint64_t asked = chan_after(c, sub->from), i = newest_that_fit(c, asked);
        if (i > asked && !sub->stream->plain)
            err = batch_reset(b, sub, RESET_TOO_FAR, chan_at(c, i)->seq);
        for (; i < c->head && err == 0; i++) err = batch_event(b, sub, chan_at(c, i));
    }
    return err < 0 ? err : batch_cut(b, sub->stream, true);
}

/* The history that was asked for, and a sync that confirms the subscription. */
static int queue_start(struct stream *s, const struct sub *sub) {
    struct batch b = {0};
    b.end = &b.first;
    int err = 0;
    if (s->came_back && !s->plain)
        err = batch_reset(&b, sub, RESET_UNKNOWN_ID, oldest_left(sub_chan(sub)));
    if (err == 0) err = batch_history(&b, sub);
    if (err == 0 && !s->plain) err = batch_add(&b, sync_new(s));
    buf_free(&b.text);
    while (b.first) {
        struct note *note = b.first;
        b.first = note->next;
        if (err == 0) add_note(s, note);
        else mem_free(note);
    }
    return err;
}

int stream_subscribe(struct stream *s, const struct sub_spec *spec) {
    if (s->ending) return E_CLOSED;
    if (stream_find(s, spec->channel)) return 0;
    if (s->n_subs == STREAM_CHANNELS_MAX) return E_FULL;
    fan_wake(s->fan, s); /* it is behind from now on: its place is written down */
    struct sub *sub;
    int err = sub_new(s, spec, &sub);
    if (err < 0) return err;
    int32_t rewind =
        spec->rewind == REWIND_DEFAULT ? sub_chan(sub)->policy.rewind : spec->rewind;
    /* Whoever came back to a stream that had no channels then cannot be resumed by its
     * id: it is told, and gets what is left. */
    if (s->came_back && rewind != REWIND_LATEST) rewind = REWIND_ALL;
    sub_start_newcomer(sub, rewind);
    if (!sub_is_state(sub)) {
        if (s->plain && s->came_back) stream_break(s, END_SLOW);
        err = queue_start(s, sub);
        s->opened = s->opened || err == 0;
        sub->snapshot = false;
        sub->from = s->fan->head;
    }
    if (err < 0) {
        sub_free(s, &s->subs); /* the newest is the first */
        return err;
    }
    return 0;
}

bool stream_unsubscribe(struct stream *s, struct slice channel) {
    for (struct sub **at = &s->subs; *at; at = &(*at)->next) {
        if (!slice_eq(sub_chan(*at)->node.key, channel)) continue;
        sub_free(s, at);
        return true;
    }
    return false;
}

/* Where all subscriptions would go; with an error nobody goes. */
static int reserve_all(struct stream *s, const struct sub_spec *wish,
                       struct audience **to) {
    uint32_t n = 0;
    int err = 0;
    for (struct sub *sub = s->subs; sub && err == 0; sub = sub->next) {
        err = sub_reserve(sub, wish, &to[n]);
        n += err == 0;
    }
    while (err < 0 && n > 0) audience_release(s->fan, to[--n]);
    return err;
}

int stream_set(struct stream *s, const struct sub_spec *wish) {
    struct audience *to[STREAM_CHANNELS_MAX] = {0};
    int err = reserve_all(s, wish, to);
    if (err < 0) return err;
    fan_wake(s->fan, s);
    uint32_t n = 0;
    for (struct sub *sub = s->subs; sub; sub = sub->next) {
        sub_move(sub, to[n++]);
        s->filtered = s->filtered || sub_filter(sub);
    }
    return 0;
}
