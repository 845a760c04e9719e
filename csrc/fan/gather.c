/* stream_gather: the one visit that is replay, live delivery and catching up.
 *
 * Logs are merged by number, then local ones by theirs, then states follow, up to where the next
 * note stands; then the note, and so on, until the block is full. Nothing of the stream moves before the
 * block exists, so running out of memory costs nothing but time.
 *
 * Nearly all streams of a busy channel stand at the same cursor. What a stream without
 * notes gets is decided by a short list (audience, first pending number, how far it may
 * look), which is the key of a small cache: the first of them gathers, the others share
 * its block. */
#include "fan/gather.h"

#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"
#include "fan/fan_state.h"
#include "fan/feed.h"
#include "fan/history.h"
#include "fan/slow.h"
#include "fan/stream_open.h"
#include "fan/sub.h"
#include "fan/walk.h"

#include <assert.h>

/* What the block will hold and where the stream will stand. */
struct gather {
    struct stream *s;
    struct buf *out;
    uint64_t cursor, written;
    int64_t at_us; /* of the oldest event; 0: unknown */
    uint32_t events, notes;
    /* Of each subscription, in list order: where it stands, what it was sent. */
    uint64_t to[STREAM_CHANNELS_MAX];
    struct cache_sent sent[STREAM_CHANNELS_MAX];
    enum stream_end end;
    struct feed_draft draft; /* of a feed */
    int err;                 /* ... a message could not be made */
    bool full;
    bool pages; /* a log goes on in the store */
};

static uint64_t max64(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

/* ---- Where a subscription stands ---------------------------------------------------- */

/* A state with a rate shows no more than was there at its last tick, or when it began. */
static uint64_t looks_upto(const struct sub *sub, uint64_t upto) {
    const struct audience *a = sub->audience;
    if (!a->key.tick || !sub_is_state(sub)) return upto;
    uint64_t end = sub_rests(sub) ? sub->joined : max64(a->due, sub->joined);
    return end < upto ? end : upto;
}

/* ---- Filling a block ---------------------------------------------------------------- */

/* False when the block has no room for so much more. One event alone may be larger: the
 * scratch buffer holds a block and the largest event. */
static bool has_room(struct gather *g, size_t n) {
    if (g->out->n > 0 && g->out->n + n > GATHER_BYTES_MAX) g->full = true;
    return !g->full;
}

static bool add_text(struct gather *g, const char *p, size_t n) {
    if (!has_room(g, n)) return false;
    int err = buf_add(g->out, p, n);
    assert(err == 0);
    (void)err;
    return true;
}

static bool add_frame(struct gather *g, const struct frame *f) {
    if (!add_text(g, f->text.p, f->text.n)) return false;
    g->events++;
    if (f->has_id) g->written = f->seq;
    return true;
}

/* An entry of a compacted replay that is below the cursor: its id would lead the client
 * back to what it has. */
static bool add_without_id(struct gather *g, const struct frame *f) {
    if (!has_room(g, f->text.n)) return false;
    int err = frame_add_without_id(f, g->out);
    assert(err == 0);
    (void)err;
    g->events++;
    return true;
}

/* What the reader of a feed gets of it. What is not as its type says begins a block. */
static bool add_to_feed(struct gather *g, const struct frame *f) {
    const struct stream *s = g->s;
    if (!has_room(g, f->text.n)) return false;
    int n = feed_add(s->feed, &g->draft, s->fan->epoch, f, g->out);
    if (n < 0) {
        g->full = true;
        g->err = n == E_INVAL && g->events > 0 ? 0 : n;
        return false;
    }
    g->events += (uint32_t)n;
    g->cursor = max64(g->cursor, f->seq);
    return true;
}

static bool add_log_frame(struct gather *g, const struct frame *f) {
    if (g->s->feed) return add_to_feed(g, f);
    if (f->seq <= g->cursor && !PLANTED(28)) return add_without_id(g, f);
    if (!add_frame(g, f)) return false;
    g->cursor = max64(g->cursor, f->seq);
    return true;
}

/* The next of those that have something: the one with the lowest number. */
static struct walker *lowest_of(struct walker *walkers, uint32_t n) {
    struct walker *next = walkers;
    for (uint32_t i = 1; i < n && !PLANTED(5); i++)
        if (walkers[i].frame->seq < next->frame->seq) next = &walkers[i];
    return next;
}

static void count_sent(struct gather *g, struct cache_sent *sent, const struct frame *f,
                       bool wanted) {
    if (g->at_us == 0 || (f->at_us > 0 && f->at_us < g->at_us)) g->at_us = f->at_us;
    sent->events++;
    sent->bytes += (uint32_t)f->text.n;
    sent->wanted += wanted;
}

/* Where a log goes on. */
static uint64_t log_from(const struct gather *g, const struct sub *sub, uint32_t i) {
    return sub->snapshot || sub->behind ? g->to[i] : max64(g->cursor, g->to[i]);
}

/* How far the merge may go: to the end of a page that another one follows, and not past one
 * that is not here. */
static uint64_t merge_end(const struct gather *g, uint64_t upto) {
    uint64_t end = upto;
    uint32_t i = 0;
    for (const struct sub *sub = g->s->subs; sub && g->pages; sub = sub->next, i++) {
        if (sub_is_state(sub)) continue;
        uint64_t from = log_from(g, sub, i);
        if (sub->snapshot) from = max64(from, sub->joined);
        bool seeks = sub->seeks; /* also where the ring has more than it asked for */
        if (!seeks && !history_has(sub, from)) continue;
        const struct page_request *page = history_page(g->s, sub, from);
        uint64_t known = page ? page->given : from;
        if ((!page && PLANTED(33)) || (page && PLANTED(36))) continue;
        if (known < end && (seeks || history_has(sub, known))) end = known;
    }
    return end;
}

/* Logs whose numbers are of one order. */
struct merge {
    struct walker walkers[STREAM_CHANNELS_MAX];
    uint32_t n;
};

static void merge_add(struct merge *m, struct gather *g, uint32_t i, struct walker w) {
    if (!w.frame) return;
    w.sent = &g->sent[i];
    w.to = &g->to[i];
    m->walkers[m->n++] = w;
}

/* False: there is more, and the block is full. */
static bool merge_run(struct merge *m, struct gather *g,
                      bool (*add)(struct gather *g, const struct frame *f)) {
    while (m->n > 0) {
        struct walker *next = lowest_of(m->walkers, m->n);
        if (!add(g, next->frame)) return false;
        *next->to = next->frame->seq;
        bool old = next->page || next->sub->behind;
        bool counted = !old || next->frame->seq > next->sub->joined;
        count_sent(g, next->sent, next->frame, counted);
        walk_on(next);
        if (!next->frame) *next = m->walkers[--m->n];
    }
    return true;
}

/* Those of all nodes, merged by number, up to and including 'upto'. */
static void add_logs(struct gather *g, uint64_t upto) {
    UNSET struct merge m;
    uint32_t i = 0;
    m.n = 0;
    upto = merge_end(g, upto);
    for (struct sub *sub = g->s->subs; sub; sub = sub->next, i++) {
        if (sub_is_apart(sub)) continue;
        uint64_t from = log_from(g, sub, i);
        const struct page_request *page =
            g->pages && !sub->snapshot ? history_page(g->s, sub, from) : NULL;
        merge_add(&m, g, i,
                  page ? walk_page_from(sub, page, from, upto)
                       : walk_from(sub, from, upto));
    }
    if (!merge_run(&m, g, add_log_frame)) return;
    g->cursor = max64(g->cursor, upto);
    i = 0;
    for (const struct sub *sub = g->s->subs; sub; sub = sub->next, i++)
        if (sub->behind || sub->snapshot) g->to[i] = max64(g->to[i], upto);
}

/* Local logs, in the order of their own numbers. */
static void add_local_logs(struct gather *g, uint64_t upto) {
    UNSET struct merge m;
    uint32_t i = 0;
    m.n = 0;
    for (struct sub *sub = g->s->subs; sub; sub = sub->next, i++)
        if (sub_is_apart(sub) && !sub_is_state(sub))
            merge_add(&m, g, i, walk_from(sub, g->to[i], upto));
    if (!merge_run(&m, g, add_frame)) return;
    i = 0;
    for (struct sub *sub = g->s->subs; sub; sub = sub->next, i++)
        if (sub_is_apart(sub) && !sub_is_state(sub)) g->to[i] = max64(g->to[i], upto);
}

/* How far the next note lets events go. */
struct reach {
    uint64_t upto, local;
    bool ends; /* it is an end */
};

/* Each state from where it stands, in the order of updates. Before an end, rates do not
 * count. */
static void add_states(struct gather *g, const struct reach *r) {
    uint32_t i = 0;
    for (struct sub *sub = g->s->subs; sub && !g->full; sub = sub->next, i++) {
        if (!sub_is_state(sub)) continue;
        uint64_t upto = sub_is_local(sub) ? r->local : r->upto;
        uint64_t end = r->ends ? upto : looks_upto(sub, upto);
        struct walker w = walk_from(sub, g->to[i], end);
        for (; w.frame; walk_on(&w)) {
            if (!add_frame(g, w.frame)) return;
            g->to[i] = w.frame->seq;
            count_sent(g, &g->sent[i], w.frame, w.frame->seq > sub->joined);
        }
        g->to[i] = max64(g->to[i], end);
    }
}

/* States go no further than this thread has seen, also where a cursor from another thread
 * is ahead of it. Before an end they go all the way: a newer value may have replaced one
 * that was pending. */
static struct reach states_reach(const struct gather *g, const struct reach *r) {
    const struct fan *fan = g->s->fan;
    bool ahead = r->upto > fan->head && !PLANTED(13);
    return (struct reach){r->ends || ahead ? fan->head : r->upto,
                          r->ends ? fan->local_head : r->local, r->ends};
}

static void add_events(struct gather *g, const struct reach *r) {
    struct reach states = states_reach(g, r);
    add_logs(g, r->upto);
    if (!g->full) add_local_logs(g, r->local);
    if (!g->full) add_states(g, &states);
}

/* A note waits until all events before it are here. */
static bool is_held_up(const struct gather *g, const struct note *note) {
    return g->pages && !note->alone && !PLANTED(31) &&
           merge_end(g, note->after) < note->after;
}

/* Whether it has all of the log's events; that they close it ends a live one. Where the store has to
 * say first where it starts it has none. */
static bool is_over(const struct gather *g) {
    const struct stream *s = g->s;
    const struct chan *c = s->subs ? sub_chan(s->subs) : NULL;
    return c && !g->full && !s->seeks && g->cursor >= c->kept->last &&
           feed_is_closed(s->feed, c);
}

/* Live, what a visit brought ends with where its reader is. */
static void finish_feed(struct gather *g) {
    const struct stream *s = g->s;
    const struct feed *feed = s->feed;
    bool over = is_over(g);
    if (!s->subs || feed->mode != FEED_SSE || g->err < 0) return;
    if (!g->draft.open && g->notes == 0 && !over) return;
    const struct chan *c = sub_chan(s->subs);
    bool all = !g->full && g->cursor >= c->kept->last && !s->seeks;
    uint64_t at = all ? feed_end(&s->fan->chans, c) : g->cursor;
    struct feed_control control = {max64(at, feed->from), all, over};
    g->err = feed_add_control(feed, &g->draft, s->fan->epoch, &control, g->out);
    if (over) g->end = STREAM_ENDS;
}

static void fill(struct gather *g) {
    const struct note *note = stream_note(g->s);
    if (g->s->seeks && !(note && note->alone)) return;
    uint64_t head = max64(g->s->fan->head, g->cursor);
    for (;;) {
        struct reach r = {head, g->s->fan->local_head, false};
        if (note)
            r = (struct reach){note->after, note->local_after,
                               note->end != STREAM_GOES_ON};
        if (!note || !note->alone) add_events(g, &r);
        if (g->full || !note || is_held_up(g, note)) return;
        if (g->draft.open && note->n > 0) finish_feed(g);
        if (!add_text(g, note->text, note->n)) return;
        g->notes++;
        if (note->id) g->written = note->id;
        g->end = note->end;
        if (r.ends) return;
        note = stream_next_note(g->s, note);
    }
}

static void start_gather(struct gather *g, struct stream *s) {
    *g = (struct gather){.s = s, .out = &s->fan->scratch, .cursor = s->cursor};
    g->out->n = 0;
    uint32_t i = 0;
    for (struct sub *sub = s->subs; sub; sub = sub->next)
        g->to[i++] = stream_cursor(s, sub);
}

/* Count what a subscription was sent and, when it is a state and has all that was wanted
 * until now ('whole'), what newer values replaced. A live log has no count: it
 * gets what is wanted. */
static void count_for(struct sub *sub, const struct cache_sent *sent, bool whole) {
    const struct audience *a = sub->audience;
    if (sent->events > 0) {
        struct tally *t = chan_tally(a->key.chan, &sub->stream->fan->tallies);
        t->counts.delivered += sent->events;
        t->counts.delivered_bytes += sent->bytes;
    }
    if (!sub_is_state(sub) && !sub->stream->lagging) return;
    sub->counted += sent->wanted;
    if (!sub_is_state(sub) || !whole) return;
    uint32_t wanted = a->key.tick ? a->wanted_due : a->wanted;
    int32_t replaced = (int32_t)(wanted - sub->counted);
    if (replaced <= 0) return;
    chan_tally(sub_chan(sub), &sub->stream->fan->tallies)->counts.conflated +=
        (uint32_t)replaced;
    sub->counted = wanted;
}

/* Move the stream behind what it gets. */
static void commit(struct gather *g) {
    struct stream *s = g->s;
    for (; g->notes > 0; g->notes--) mem_free(stream_take_note(s));
    s->cursor = g->cursor;
    uint32_t i = 0;
    bool confirm = false;
    for (struct sub *sub = s->subs; sub; sub = sub->next, i++) {
        if (sub_is_apart(sub) || sub->snapshot || sub->behind) sub->from = g->to[i];
        if (sub->behind && (sub->from >= sub->joined || PLANTED(38))) sub->behind = false;
        if (sub->snapshot && sub->from >= sub->joined)
            confirm = sub_snapshot_over(sub) || confirm;
        count_for(sub, &g->sent[i], !g->full);
    }
    if (confirm && !s->ending) stream_sync(s);
    if (g->written) {
        s->written = g->written;
        s->written_ms = (uint32_t)s->fan->now_ms;
    }
}

/* Before the stream moves: there may be no memory. */
static int code_block(const struct stream *s, struct block *b) {
    int made = block_code(b, s->form, &s->fan->coder);
    if (made > 0 && form_compresses(s->form)) s->fan->compressions++;
    return made < 0 ? made : 0;
}

/* A page says by a block, of no bytes too, that all before its note is there. */
static bool is_empty(const struct gather *g) {
    const struct feed *feed = g->s->feed;
    if (g->out->n > 0 || g->end != STREAM_GOES_ON) return false;
    if (!feed || feed->mode == FEED_SSE) return true;
    return g->events == 0 && g->notes == 0 && !is_over(g);
}

static int make_block(struct gather *g, struct block **out) {
    *out = NULL;
    if (is_empty(g)) return 0;
    struct block *b = block_new(g->out->p ? g->out->p : "", (uint32_t)g->out->n, g->end);
    if (!b) return E_NOMEM;
    g->s->fan->gathered += b->n;
    b->events = g->events;
    b->at_us = g->at_us;
    int err = code_block(g->s, b);
    if (err < 0) {
        block_unref(b);
        return err;
    }
    *out = b;
    return 0;
}

/* ---- Sharing ------------------------------------------------------------------------ */

/* Where a stream without notes stands: for each subscription with something pending,
 * from where and how far it reads. Streams with the same spans get the same block. */
struct standing {
    int n; /* -1: what this stream gets is for it alone */
    struct cache_span spans[GATHER_CHANNELS_MAX];
    struct sub *subs[GATHER_CHANNELS_MAX];
};

static bool is_for_it_alone(const struct sub *sub) {
    const struct chan *c = sub_chan(sub);
    bool state = c->kind == CHANNEL_STATE;
    return state && c->kept->latest->removals > 0 && sub->from < sub->joined;
}

static void find_standing(struct stream *s, bool pages, struct standing *at) {
    at->n = s->last_note || pages || (s->feed && feed_is_alone(s->feed)) ? -1 : 0;
    for (struct sub *sub = s->subs; sub && at->n >= 0; sub = sub->next) {
        uint64_t from = stream_cursor(s, sub);
        if (sub->snapshot || sub->behind) at->n = -1; /* it also has an end of its own */
        if (sub->audience->last <= from || at->n < 0) continue;
        uint64_t upto = looks_upto(sub, fan_head(s->fan, sub_chan(sub)));
        if (upto < sub->audience->last) sub_rest(sub);
        if (upto <= from) continue;
        struct walker w = walk_from(sub, from, upto);
        if (is_for_it_alone(sub) || (w.frame && at->n == GATHER_CHANNELS_MAX)) {
            at->n = -1;
        } else if (w.frame) {
            at->spans[at->n] = (struct cache_span){sub->audience, w.frame->seq, upto};
            at->subs[at->n++] = sub;
        }
    }
}

/* The index of a subscription in its stream's list. */
static uint32_t index_of(const struct stream *s, const struct sub *wanted) {
    uint32_t i = 0;
    for (const struct sub *sub = s->subs; sub != wanted; sub = sub->next) i++;
    return i;
}

static uint64_t shape_of(const struct stream *s) {
    return s->feed && !PLANTED(306) ? s->feed->shape : 0;
}

static void put_cached(struct fan *fan, const struct gather *g, const struct standing *at,
                       struct block *b) {
    struct cache_entry *entry = cache_add(&fan->cache);
    entry->block = block_ref(b);
    entry->n = (uint32_t)at->n;
    entry->shape = shape_of(g->s);
    entry->more = g->full;
    /* The first may be ahead of this thread; the others are not. */
    entry->cursor = g->cursor < fan->head ? g->cursor : fan->head;
    entry->written = g->written;
    for (uint32_t i = 0; i < entry->n; i++) {
        entry->spans[i] = at->spans[i];
        entry->to[i] = at->subs[i]->from;
        entry->sent[i] = g->sent[index_of(g->s, at->subs[i])];
    }
}

static void apply_cached(struct stream *s, const struct cache_entry *entry,
                         const struct standing *at) {
    s->cursor = max64(s->cursor, entry->cursor);
    for (int i = 0; i < at->n; i++) {
        struct sub *sub = at->subs[i];
        if (sub_is_apart(sub)) /* never back: a full block held none */
            sub->from = max64(sub->from, entry->to[i]);
        count_for(sub, &entry->sent[i], !entry->more);
    }
    if (entry->written) {
        s->written = entry->written;
        s->written_ms = (uint32_t)s->fan->now_ms;
    }
}

/* An event of its log is not what its type says: it goes no further. */
static int break_feed(struct stream *s, bool *more) {
    stream_break(s, END_SLOW, BY_FEED);
    *more = true;
    return 0;
}

/* ---- The visit ---------------------------------------------------------------------- */

/* What ends without a bye ended with its log. */
static void note_close(struct stream *s, const struct block *b) {
    if (!b || b->end == STREAM_GOES_ON || s->ending) return;
    s->ending = true;
    s->reason = END_END;
    s->cause = BY_CLOSED_LOG;
}

int stream_gather(struct stream *s, struct block **out, bool *more) {
    struct standing at;
    if (s->seeks && !(s->paging && s->paging->places)) stream_begin(s);
    bool pages = slow_check(s);
    find_standing(s, pages || s->paging, &at);
    *out = NULL;
    *more = false;
    if (at.n == 0) {
        s->cursor = max64(s->cursor, s->fan->head);
        return 0;
    }
    const struct cache_entry *entry =
        at.n < 0 ? NULL
                 : cache_find(&s->fan->cache, at.spans, (uint32_t)at.n, shape_of(s));
    if (entry) {
        int err = code_block(s, entry->block);
        if (err < 0) return err;
        if (entry->more) stream_wake(s); /* with a cursor of its own */
        apply_cached(s, entry, &at);
        *out = block_ref(entry->block);
        *more = entry->more;
        note_close(s, *out);
        return 0;
    }
    struct gather g;
    start_gather(&g, s);
    g.pages = pages;
    fill(&g);
    if (s->feed) finish_feed(&g);
    if (g.err == E_INVAL) return break_feed(s, more);
    int err = g.err < 0 ? g.err : make_block(&g, out);
    if (err < 0) return err;
    if (g.full) stream_wake(s); /* with a cursor of its own */
    commit(&g);
    note_close(s, *out);
    if (s->paging || pages) history_ask(s);
    *more = g.full || (s->last_note && !paging_awaits(s));
    if (at.n > 0 && *out) put_cached(s->fan, &g, &at, *out);
    return 0;
}
