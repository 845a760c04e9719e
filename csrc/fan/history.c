/* Turns, pages and what happens when one cannot be read; see history.h. */
#include "fan/history.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/planted.h"
#include "fan/stream_open.h"
#include "fan/sub.h"

#include <assert.h>

/* ---- Pages -------------------------------------------------------------------------- */

static void page_free(struct page_request *r) {
    for (uint32_t i = 0; i < r->n; i++) frame_unref(r->frames[i]);
    mem_free(r->frames);
    mem_free(r);
}

/* Free the pages of a subscription (NULL: of all) that reach no further than 'at'. */
static void drop_pages(struct paging *p, const struct sub *sub, uint64_t at) {
    for (struct page_request **link = &p->pages; *link;) {
        struct page_request *page = *link;
        if ((sub && page->sub != sub) || page->given > at) {
            link = &page->next;
            continue;
        }
        *link = page->next;
        page_free(page);
    }
}

struct page_request *history_page(const struct stream *s, const struct sub *sub,
                                  uint64_t at) {
    struct page_request *page = s->paging ? s->paging->pages : NULL;
    while (page && (page->sub != sub || page->given <= at)) page = page->next;
    return page;
}

/* Where a subscription goes on in its log. */
static uint64_t place_of(const struct sub *sub) {
    if (sub->seeks) return sub->from;
    uint64_t at = stream_cursor(sub->stream, sub);
    return sub->snapshot && sub->joined > at ? sub->joined : at;
}

/* The lowest of those that wait for a page, or one that seeks its place; NULL: none does. */
static struct sub *needy(const struct stream *s) {
    struct sub *first = NULL;
    if (s->paging && s->paging->places) return s->paging->places->sub;
    for (struct sub *sub = s->subs; sub; sub = sub->next) {
        if (sub_is_state(sub) || sub->snapshot) continue;
        uint64_t at = place_of(sub);
        if (!history_has(sub, at) || history_page(s, sub, at)) continue;
        if (!first || at < place_of(first)) first = sub;
    }
    return first;
}

/* Its place is known, or none is asked for any more. */
static void drop_place(struct paging *p, struct sub *sub) {
    struct place **link = &p->places;
    while (*link && (*link)->sub != sub) link = &(*link)->next;
    if (!*link) return;
    struct place *place = *link;
    *link = place->next;
    place->sub->seeks = false;
    mem_free(place);
}

/* ---- Turns -------------------------------------------------------------------------- */

static void give_turn_back(struct fan *fan, struct paging *p) {
    if (!p->has_turn) return;
    p->has_turn = false;
    fan->page_turns--;
}

/* It needs none any more. What is under way keeps the turn. */
static void end(struct fan *fan, struct paging *p) {
    drop_pages(p, NULL, UINT64_MAX);
    while (p->places) drop_place(p, p->places->sub);
    list_remove(&p->node);
    p->stream->paging = NULL;
    if (p->asked) p->asked->paging = NULL;
    else give_turn_back(fan, p);
    mem_free(p);
}

/* Ask again in a while; the turn is for others meanwhile. */
static void rest(struct fan *fan, struct paging *p) {
    give_turn_back(fan, p);
    list_remove(&p->node);
    p->again_ms = fan->now_ms + HISTORY_RETRY_MS;
    list_add(&fan->page_rest, &p->node);
}

/* Where it starts is known. The cursor of a stream that begins is not above that. */
static void settle_place(struct paging *p, struct sub *sub, uint64_t place) {
    struct stream *s = p->stream;
    if (place > sub->from) sub->from = place;
    if (s->seeks && !sub->behind && sub->from < s->cursor) s->cursor = sub->from;
    drop_place(p, sub);
}

/* It starts with what the ring has. What came since it joined, and the ring has no more, it misses. */
static void settle_by_ring(struct paging *p, struct sub *sub) {
    uint64_t gone = sub_chan(sub)->kept->gone;
    settle_place(p, sub, gone < sub->joined ? gone : sub->joined);
}

/* As if all that only the store has were trimmed: the ring is left. */
static void lose(struct sub *sub, enum lost_by by, bool replays) {
    struct chan *c = sub_chan(sub);
    struct stream *s = sub->stream;
    uint64_t pos = chan_after(c, c->kept->gone);
    stream_reset(
        s, &(struct loss){.channel = chan_name(c),
                          .reason = RESET_TRIMMED,
                          .by = by,
                          .from = place_of(sub),
                          .oldest = pos < c->kept->head ? chan_at(c, pos)->seq : 0});
    sub->from = c->kept->gone;
    if (replays && c->kind == CHANNEL_KEYED && !s->ending) sub_replay(sub);
}

static void give_up(struct paging *p, struct sub *sub) {
    p->failed = 0;
    if (sub->seeks) settle_by_ring(p, sub);
    drop_place(p, sub);
    lose(sub, LOST_UNREAD, true);
}

static void fail(struct fan *fan, struct paging *p, struct sub *sub) {
    if (++p->failed < HISTORY_TRIES_MAX) rest(fan, p);
    else if (sub) give_up(p, sub);
}

static struct page_request *request_new(struct paging *p, struct sub *sub) {
    const struct chan *c = sub_chan(sub);
    struct page_request *r = mem_try(sizeof *r + c->name_n + 1);
    if (!r) return NULL;
    *r = (struct page_request){.above = place_of(sub),
                               .upto = c->kept->gone,
                               .events_max = HISTORY_PAGE_EVENTS,
                               .bytes_max = HISTORY_PAGE_BYTES,
                               .newest = sub->seeks ? p->places->events : 0,
                               .joined = sub->joined,
                               .paging = p,
                               .sub = sub};
    memcpy(r->name, c->name, c->name_n + 1);
    r->channel = slice_of(r->name, c->name_n);
    return r;
}

/* It has a turn: the next page, if it still needs one. */
static void ask(struct fan *fan, struct paging *p) {
    struct sub *sub = needy(p->stream);
    if (!sub) {
        if (!p->pages) end(fan, p);
        return;
    }
    struct page_request *r = request_new(p, sub);
    if (!r || !fan->history || fan->history->read(fan->history->owner, r) != 0) {
        mem_free(r);
        fail(fan, p, sub);
        return;
    }
    p->asked = r;
}

static void start_next(struct fan *fan) {
    while (fan->page_turns < HISTORY_TURNS_MAX && !list_empty(&fan->page_queue)) {
        struct paging *p = container_of(fan->page_queue.next, struct paging, node);
        list_remove(&p->node);
        p->has_turn = true;
        fan->page_turns++;
        ask(fan, p);
    }
}

static struct paging *begin(struct stream *s) {
    struct paging *p = mem_new(sizeof *p);
    *p = (struct paging){.stream = s};
    list_init(&p->node);
    s->paging = p;
    return p;
}

static void add_place(struct sub *sub, uint32_t events) {
    struct stream *s = sub->stream;
    struct place *place = mem_new(sizeof *place);
    if (!s->paging) begin(s);
    *place = (struct place){.next = s->paging->places, .sub = sub, .events = events};
    s->paging->places = place;
}

void history_seek(struct sub *sub, uint32_t events) {
    add_place(sub, events);
    sub->seeks = true;
}

void history_judge(struct sub *sub) {
    add_place(sub, 0);
}

void history_ask(struct stream *s) {
    struct fan *fan = s->fan;
    struct paging *p = s->paging;
    for (struct sub *sub = s->subs; p && sub; sub = sub->next)
        drop_pages(p, sub, place_of(sub));
    bool awaits = needy(s) != NULL;
    if (awaits && !p) p = begin(s);
    if (!p) return;
    p->awaits = awaits;
    if (p->asked || !list_empty(&p->node)) return;
    if (!awaits) {
        if (!p->pages) end(fan, p);
    } else if (p->has_turn && (p->pages || list_empty(&fan->page_queue))) {
        ask(fan, p);
    } else { /* it has had its page: others first */
        give_turn_back(fan, p);
        list_add(&fan->page_queue, &p->node);
    }
    start_next(fan);
}

/* ---- Answers ------------------------------------------------------------------------ */

/* It began with a reset, and has got nothing since: what went before it came is told by that. */
static bool is_told(const struct sub *sub, uint64_t floor) {
    return sub->told && place_of(sub) == sub->from && floor <= sub->joined;
}

/* The store has deleted more than this thread had heard of. Events at or below its floor are
 * not sent, although a page may hold them: the place is not below it from now on. */
static void report_floor(struct sub *sub, uint64_t floor) {
    struct chan *c = sub_chan(sub);
    struct stream *s = sub->stream;
    bool told = is_told(sub, floor) && !PLANTED(45);
    if (!told)
        stream_reset(s, &(struct loss){.channel = chan_name(c),
                                       .reason = RESET_TRIMMED,
                                       .by = LOST_STORED,
                                       .from = place_of(sub),
                                       .oldest = floor + 1});
    if (floor > sub->from) sub->from = floor;
    if (!told && c->kind == CHANNEL_KEYED && !s->ending) sub_replay(sub);
}

/* A newcomer misses nothing of what is gone: its place is not below the floor. */
static uint64_t place_in(const struct page_request *r, const struct sub *sub) {
    return r->above < sub->joined ? r->above : sub->joined;
}

/* What is above the page this thread has, also where Redis has trimmed it already. */
static void fit(struct page_request *r, const struct chan *c) {
    if (!c->policy->in_redis) return;
    if (r->floor > r->upto) r->floor = r->upto;
    if (r->newest > 0 && r->above > r->upto) r->above = r->upto;
}

static void take(struct fan *fan, struct paging *p, struct page_request *r) {
    struct sub *sub = r->sub;
    fit(r, sub_chan(sub));
    bool sought = sub->seeks && r->newest > 0;
    if (sought) settle_place(p, sub, place_in(r, sub));
    uint64_t at = place_of(sub);
    bool lost = r->floor > at && !PLANTED(32);
    bool is_old = sought && r->floor > sub->joined; /* ask again, from its place */
    if (is_old || (r->given <= at && !lost)) { /* no answer: it would be asked for ever */
        bool overtaken = r->above < at;        /* a reset has moved its place meanwhile */
        page_free(r);
        if (!sought && !overtaken) fail(fan, p, sub);
        return;
    }
    p->failed = 0;
    drop_place(p, sub);
    if (lost) report_floor(sub, r->floor);
    r->next = p->pages;
    p->pages = r;
    if (sub->snapshot) drop_pages(p, sub, UINT64_MAX);
}

/* Its socket is full: as long as that is so it needs no page. */
static bool is_stuck(const struct stream *s) {
    return s->blocked && !list_empty(&s->ready);
}

void history_answer(struct fan *fan, struct page_request *r) {
    ASSERT_OWNER(fan->loop);
    struct paging *p = r->paging;
    if (!p) {
        fan->page_turns--;
        page_free(r);
        start_next(fan);
        return;
    }
    struct stream *s = p->stream;
    p->asked = NULL;
    p->awaits = false; /* the next visit finds out */
    if (r->sub && r->err == 0) {
        take(fan, p, r);
    } else {
        if (r->err) fail(fan, p, r->sub);
        page_free(r);
    }
    if (is_stuck(s)) history_pause(s);
    else stream_wake(s);
    start_next(fan);
}

void history_discard(struct fan *fan, struct page_request *r) {
    ASSERT_OWNER(fan->loop);
    assert(!r->paging);
    fan->page_turns--;
    page_free(r);
}

void history_tick(struct fan *fan) {
    while (history_next(fan) <= fan->now_ms) {
        struct paging *p = container_of(fan->page_rest.next, struct paging, node);
        list_remove(&p->node);
        stream_wake(p->stream);
    }
}

int64_t history_next(const struct fan *fan) {
    if (list_empty(&fan->page_rest)) return INT64_MAX;
    return container_of(fan->page_rest.next, struct paging, node)->again_ms;
}

/* ---- Going -------------------------------------------------------------------------- */

void history_pause(struct stream *s) {
    struct paging *p = s->paging;
    if (!p || p->asked) return; /* what comes then finds it stuck */
    if (!p->places) {
        end(s->fan, p);
    } else { /* it asks for those again */
        give_turn_back(s->fan, p);
        list_remove(&p->node);
    }
    start_next(s->fan);
}

void history_leave(struct stream *s) {
    if (!s->paging) return;
    end(s->fan, s->paging);
    start_next(s->fan);
}

static void void_asked(struct paging *p) {
    drop_pages(p, NULL, UINT64_MAX);
    while (p->places) {
        struct sub *sub = p->places->sub;
        if (sub->seeks) settle_by_ring(p, sub);
        else drop_place(p, sub);
    }
    if (p->asked) p->asked->sub = NULL;
    p->awaits = false;
}

void history_void(struct stream *s) {
    if (s->paging) void_asked(s->paging);
    if (s->seeks && !PLANTED(683)) stream_begin(s);
}

void history_forget(struct sub *sub) {
    struct paging *p = sub->stream->paging;
    if (!p) return;
    drop_pages(p, sub, UINT64_MAX);
    drop_place(p, sub);
    if (p->asked && p->asked->sub == sub) p->asked->sub = NULL;
    p->awaits = false; /* the next visit finds out what it still needs */
    stream_wake(sub->stream);
}

/* A newcomer that was to begin where the store says begins with what the ring has. */
static void end_pages(struct sub *sub, bool replays) {
    struct stream *s = sub->stream;
    if (s->paging && sub->seeks) settle_by_ring(s->paging, sub);
    if (s->paging) drop_place(s->paging, sub);
    if (PLANTED(42) || !history_has(sub, place_of(sub))) return;
    lose(sub, LOST_RELOAD, replays);
    stream_wake(s);
}

void history_end(struct sub *sub) {
    end_pages(sub, true);
}

void history_cut(struct sub *sub) {
    end_pages(sub, false);
}
