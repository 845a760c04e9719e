/* Live and lagging, notes, notices and ends; see stream.h. How a stream begins is
 * stream_open.c, how it is served gather.c. */
#include "fan/stream.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"
#include "fan/control.h"
#include "fan/feed.h"
#include "fan/paging.h"

void stream_init(struct stream *s, struct fan *fan, enum form_id form) {
    *s = (struct stream){
        .fan = fan, .lagging = true, .lagging_ms = (uint32_t)fan->now_ms, .form = form};
    list_init(&s->ready);
}

struct sub *stream_find(const struct stream *s, struct slice channel) {
    struct sub *sub = s->subs;
    while (sub && !slice_eq(chan_name(sub_chan(sub)), channel)) sub = sub->next;
    return sub;
}

/* ---- Live and lagging --------------------------------------------------------------- */

void stream_settle(struct stream *s) {
    uint64_t low = s->fan->head;
    if (s->lagging) return;
    for (struct sub *sub = s->subs; sub; sub = sub->next) {
        const struct audience *a = sub->audience;
        sub->from = stream_cursor(s, sub);
        if (sub_is_state(sub)) continue;
        sub->counted = a->pending && sub->from < a->last ? a->wanted_sent : a->wanted;
        if (!sub_is_apart(sub) && sub->from < low) low = sub->from;
    }
    if (low > s->cursor) s->cursor = low;
}

void stream_demote(struct stream *s) {
    if (s->lagging) return;
    stream_settle(s);
    s->lagging = true;
    s->lagging_ms = (uint32_t)s->fan->now_ms;
    for (struct sub *sub = s->subs; sub; sub = sub->next)
        audience_demote(sub->audience, sub);
}

void stream_make_ready(struct stream *s) {
    stream_demote(s);
    if (list_empty(&s->ready)) list_add(&s->fan->ready, &s->ready);
}

void stream_wake(struct stream *s) {
    ASSERT_OWNER(s->fan->loop);
    if (s->blocked) stream_demote(s);
    else stream_make_ready(s);
}

void stream_writable(struct stream *s) {
    ASSERT_OWNER(s->fan->loop);
    s->blocked = false;
    list_remove(&s->ready);
    stream_make_ready(s);
}

/* ---- Notes -------------------------------------------------------------------------- */

struct note *stream_take_note(struct stream *s) {
    struct note *first = stream_note(s);
    if (first == s->last_note) s->last_note = NULL;
    else s->last_note->next = first->next;
    s->note_bytes -= first->n;
    return first;
}

void stream_drop_notes(struct stream *s) {
    while (s->last_note) mem_free(stream_take_note(s));
}

void stream_add_note(struct stream *s, struct note *note) {
    struct note *before = s->last_note ? s->last_note : note;
    if (before == note) note->next = note;
    if (note->after >= before->after) s->last_note = note;
    else
        while (before->next->after <= note->after) before = before->next;
    note->next = before->next;
    before->next = note;
    s->note_bytes += note->n;
}

struct note *note_new(const struct stream *s, struct slice text, uint64_t after,
                      uint64_t id, enum stream_end end) {
    struct note *note = mem_try(sizeof *note + text.n);
    if (!note) return NULL;
    bool first = after == NOTE_FIRST;
    *note = (struct note){.after = first || PLANTED(9) ? 0 : after,
                          .local_after = first ? 0 : s->fan->local_head,
                          .id = id,
                          .end = end,
                          .n = (uint32_t)text.n};
    if (text.n > 0) memcpy(note->text, text.p, text.n);
    return note;
}

int stream_queue(struct stream *s, struct slice text, uint64_t after, uint64_t id,
                 enum stream_end end) {
    struct note *note = note_new(s, text, after, id, end);
    if (note) stream_add_note(s, note);
    return note ? 0 : E_NOMEM;
}

/* Words of its form, behind the events up to a number. */
static int queue_text(struct stream *s, struct buf *text, uint64_t after, int err) {
    if (err == 0) err = stream_queue(s, buf_slice(text), after, 0, STREAM_GOES_ON);
    if (err == 0) stream_wake(s);
    buf_free(text);
    return err;
}

int stream_head(const struct stream *s, struct buf *b, uint32_t retry_ms) {
    int err = s->pads ? buf_addf(b, ":%*s\n", STREAM_PADDING - 2, "") : 0;
    return err < 0 ? err : form_of(s->form)->head(b, retry_ms);
}

int stream_preamble(struct stream *s, uint32_t retry_ms) {
    ASSERT_OWNER(s->fan->loop);
    struct buf text = {0};
    int err = stream_head(s, &text, retry_ms);
    return queue_text(s, &text, s->fan->head, err);
}

void stream_count_reset(struct stream *s, const struct loss *loss) {
    struct list *tallies = &s->fan->tallies;
    struct chan *c = chans_find(&s->fan->chans, loss->channel);
    struct tally *t =
        c ? chan_tally(c, tallies) : tally_new(tallies, loss->channel, NULL);
    if (s->resets < UINT16_MAX) s->resets++;
    t->counts.resets[loss->reason]++;
    s->fan->ops->lost(s, loss);
}

void stream_break(struct stream *s, enum end_reason reason, enum end_cause cause) {
    stream_end(s, &(struct bye){.reason = reason, .cause = cause, .breaks = true});
}

/* Whether its client does not know yet that an epoch has ended: no id may go before that. */
static bool ends_epoch(const struct stream *s) {
    const struct note *note = s->last_note;
    do {
        if (note && note->ends_epoch) return true;
        note = note ? note->next : NULL;
    } while (note != s->last_note);
    return false;
}

void stream_reset(struct stream *s, const struct loss *loss) {
    ASSERT_OWNER(s->fan->loop);
    stream_wake(s);
    stream_count_reset(s, loss);
    if (s->feed && PLANTED(305)) return;
    if (s->feed) s->feed->lost = loss->reason;
    if (s->plain) {
        stream_break(s, reason_reset(loss->reason)->plain, BY_LOSS);
        return;
    }
    struct buf text = {0}, id = {0};
    /* Its place may be below: hello has the id. */
    bool has_id = !s->seeks && (!ends_epoch(s) || PLANTED(640));
    int err = control_id_json(&id, s->fan->epoch, loss->from);
    struct control_reset reset = {.channel = loss->channel,
                                  .reason = loss->reason,
                                  .from = buf_slice(&id),
                                  .oldest = loss->oldest,
                                  .has_id = has_id,
                                  .id = PLANTED(4) ? s->fan->head : s->cursor};
    if (err == 0) err = control_reset(&text, s->fan->epoch, &reset);
    uint64_t written = has_id ? s->cursor : 0;
    if (err == 0) /* first of all: what follows may be of that channel */
        err = stream_queue(s, buf_slice(&text), NOTE_FIRST, written, STREAM_GOES_ON);
    buf_free(&text);
    buf_free(&id);
    if (err < 0) stream_bye(s, END_OVERLOAD); /* it comes back, and gets it then */
}

/* ---- Ends --------------------------------------------------------------------------- */

/* An end by right: nothing that waits goes out. What its socket has not begun to take comes
 * back, and with it goes its cursor: the client keeps the id that it has. False when the
 * stream has ended already, as far as its socket is concerned. */
static bool take_all_back(struct stream *s) {
    bool hello = s->last_note && s->written == 0;
    if (s->blocked && s->fan->ops->take_back(s)) {
        s->ending = false;
        s->opened = PLANTED(23);
        stream_writable(s);
    }
    if (s->ending && !s->last_note) return false;
    if (hello) s->opened = false;
    stream_drop_notes(s);
    return true;
}

/* The words: what the app says last, then bye. */
static int write_end(struct buf *b, const struct stream *s, const struct bye *bye,
                     uint64_t at) {
    int err = bye->word.n ? buf_add(b, bye->word.p, bye->word.n) : 0;
    if (err == 0 && bye->word.n && s->plain && reason_end(bye->reason)->stays_away)
        err = buf_adds(b, "id: stop\n");
    if (err == 0 && bye->word.n) err = buf_adds(b, "\n");
    if (err < 0 || s->plain || !reason_end(bye->reason)->has_bye) return err;
    int64_t left_ms = s->fan->drained_ms - s->fan->now_ms;
    struct control_bye text = {
        .reason = bye->reason,
        .retry_ms = reason_retry_ms(bye_retry(bye), &s->fan->random, left_ms),
        .status = bye->status,
        .has_id = s->opened,
        .id = at};
    return control_bye(b, s->fan->epoch, &text);
}

/* The last note. Without memory for its words the socket just ends. */
static void queue_end(struct stream *s, const struct buf *words, uint64_t after,
                      const struct bye *bye) {
    struct note *note = words ? mem_try(sizeof *note + words->n) : NULL;
    if (!note) words = NULL;
    if (!note) note = mem_new(sizeof *note);
    const struct end_row *row = reason_end(bye->reason);
    bool clean = words && !bye->breaks && (row->stays_away || s->ends_clean);
    bool at_once = row->when == END_AT_ONCE, at_end = row->when == END_AFTER_ALL;
    *note = (struct note){.after = at_once ? 0 : after, /* first of all */
                          .local_after = at_end ? s->fan->local_head : 0,
                          .end = clean ? STREAM_ENDS : STREAM_BREAKS,
                          .alone = at_once && !PLANTED(24),
                          .n = words ? (uint32_t)words->n : 0};
    if (note->n > 0) memcpy(note->text, words->p, note->n);
    stream_add_note(s, note);
}

void stream_end(struct stream *s, const struct bye *bye) {
    ASSERT_OWNER(s->fan->loop);
    enum end_when when = reason_end(bye->reason)->when;
    if (s->ending && when != END_AT_ONCE) return;
    stream_wake(s);
    if (when == END_AT_ONCE && !take_all_back(s)) return;
    /* A stream that lost something without a notice ends at its cursor, before any later
     * event: it gets the notice when it comes back. One that is brought pages may
     * come back for the rest, too. */
    const struct end_row *row = reason_end(bye->reason);
    bool replays = paging_replays(s) && row->has_bye && !row->stays_away;
    bool here = s->cursor > s->fan->head || when != END_AFTER_ALL || replays;
    uint64_t at = here ? s->cursor : s->fan->head;
    uint64_t after = replays ? 0 : at; /* history that joined waits for pages, too */
    s->ending = true;
    s->reason = bye->reason;
    s->cause = row->usual;
    if (bye->cause) s->cause = bye->cause;
    struct buf words = {0};
    int err = write_end(&words, s, bye, at);
    queue_end(s, err == 0 ? &words : NULL, after, bye);
    buf_free(&words);
    s->fan->byes++;
}

void stream_bye(struct stream *s, enum end_reason reason) {
    stream_end(s, &(struct bye){.reason = reason});
}

int stream_send(struct stream *s, struct slice text) {
    ASSERT_OWNER(s->fan->loop);
    if (s->ending) return E_CLOSED;
    struct note *note = note_new(s, text, s->fan->head, 0, STREAM_GOES_ON);
    if (!note) return E_NOMEM;
    note->own = true;
    stream_add_note(s, note);
    stream_wake(s);
    return 0;
}

struct note *stream_take_own(struct stream *s) {
    ASSERT_OWNER(s->fan->loop);
    struct note *first[2] = {NULL, NULL}, **end[2] = {&first[0], &first[1]};
    while (s->last_note) {
        struct note *note = stream_take_note(s);
        *end[note->own] = note;
        end[note->own] = &note->next;
    }
    *end[false] = *end[true] = NULL;
    for (struct note *note = first[false], *next; note; note = next) {
        next = note->next;
        stream_add_note(s, note);
    }
    return first[true];
}

void stream_put_own(struct stream *s, struct note *own) {
    ASSERT_OWNER(s->fan->loop);
    while (own) {
        struct note *note = own;
        own = note->next;
        if (s->ending) mem_free(note);
        else stream_add_note(s, note);
    }
    stream_wake(s);
}

bool stream_wants_sync(const struct stream *s, int64_t now_ms) {
    if (s->lagging || s->ending || s->plain || s->written >= s->fan->head) return false;
    bool logs = false;
    for (const struct sub *sub = s->subs; sub && !logs; sub = sub->next)
        logs = !sub_is_apart(sub);
    uint32_t quiet_ms = (uint32_t)now_ms - s->written_ms;
    return logs && quiet_ms >= (s->filtered ? SYNC_FILTERED_MS : SYNC_QUIET_MS);
}

struct note *note_new_sync(const struct stream *s, uint64_t at_least) {
    struct buf text = {0};
    uint64_t head = s->fan->head > at_least ? s->fan->head : at_least;
    struct note *note = NULL;
    if (control_sync(&text, s->fan->epoch, head) == 0)
        note = note_new(s, buf_slice(&text), head, head, STREAM_GOES_ON);
    buf_free(&text);
    return note;
}

void stream_sync(struct stream *s) {
    struct note *note = note_new_sync(s, 0);
    if (!note) return; /* the next heartbeat tries again */
    stream_add_note(s, note);
    stream_wake(s);
}

void stream_beat(struct stream *s) {
    ASSERT_OWNER(s->fan->loop);
    struct buf text = {0};
    if (stream_wants_sync(s, s->fan->now_ms)) stream_sync(s);
    else /* or the next one; it waits for no page */
        queue_text(s, &text, paging_awaits(s) ? NOTE_FIRST : s->fan->head,
                   form_of(s->form)->heartbeat(&text));
}
