/* Walking one subscription; see walk.h. */
#include "fan/walk.h"

#include "base/planted.h"
#include "fan/fan_state.h"

static void walk_ring(struct walker *w) {
    const struct chan *c = sub_chan(w->sub);
    w->in_latest = false;
    for (w->frame = NULL; w->at < c->kept->head; w->at++) {
        struct frame *f = chan_at(c, w->at);
        if (f->seq > w->upto) return;
        if (!sub_wants(w->sub, f)) continue;
        w->frame = f;
        return;
    }
}

/* A page, and the ring from where it ends. */
static void walk_page(struct walker *w) {
    for (w->frame = NULL; w->at < w->page->n; w->at++) {
        struct frame *f = w->page->frames[w->at];
        if (f->seq > w->upto) return;
        if (!sub_wants(w->sub, f)) continue;
        w->frame = f;
        return;
    }
    w->at = chan_after(sub_chan(w->sub), w->page->given);
    w->page = NULL;
    walk_ring(w);
}

/* A removal is news only to subscribers that were here before it. */
static bool slot_is_wanted(const struct sub *sub, const struct frame *f) {
    if (f->remove && (f->seq <= sub->joined || PLANTED(14))) return false;
    return sub_wants(sub, f);
}

static void walk_latest(struct walker *w) {
    const struct latest *l = sub_chan(w->sub)->kept->latest;
    uint64_t end =
        w->sub->snapshot && w->sub->joined < w->upto ? w->sub->joined : w->upto;
    w->in_latest = true;
    for (w->frame = NULL; w->at < l->n; w->at = latest_next(l, (uint32_t)w->at)) {
        struct frame *f = latest_at(l, (uint32_t)w->at);
        if (f->seq > end) break;
        if (!slot_is_wanted(w->sub, f)) continue;
        w->frame = f;
        return;
    }
    if (!w->sub->snapshot) return;
    w->at =
        chan_after(sub_chan(w->sub), w->sub->joined); /* the compacted replay is over */
    walk_ring(w);
}

struct walker walk_page_from(struct sub *sub, const struct page_request *page,
                             uint64_t seq, uint64_t upto) {
    struct walker w = {.sub = sub, .page = page, .upto = upto};
    while (w.at < page->n && page->frames[w.at]->seq <= seq) w.at++;
    walk_page(&w);
    return w;
}

struct walker walk_from(struct sub *sub, uint64_t seq, uint64_t upto) {
    struct walker w = {.sub = sub, .upto = upto};
    struct chan *c = sub_chan(sub);
    if (sub->audience->last <= seq) return w;
    if (c->kind == CHANNEL_STATE || (sub->snapshot && seq < sub->joined)) {
        w.at = latest_after(c->kept->latest, seq);
        walk_latest(&w);
    } else {
        w.at = chan_after(c, seq);
        walk_ring(&w);
    }
    return w;
}

void walk_on(struct walker *w) {
    if (w->in_latest) {
        w->at = latest_next(sub_chan(w->sub)->kept->latest, (uint32_t)w->at);
        walk_latest(w);
    } else {
        w->at++;
        if (w->page) walk_page(w);
        else walk_ring(w);
    }
}
