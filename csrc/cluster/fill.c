/* Pages put together; see fill.h. */
#include "cluster/fill.h"

#include "base/mem.h"

#include <string.h>

struct fill *fill_new(struct slice channel, char kind, uint32_t ttl_s) {
    struct fill *f = mem_new(sizeof *f + channel.n);
    memcpy(f->name, channel.p, channel.n);
    f->channel = slice_of(f->name, channel.n);
    f->kind = kind;
    f->ttl_s = ttl_s;
    f->floor = UINT64_MAX;
    list_init(&f->events);
    list_init(&f->values);
    return f;
}

static void free_all(struct list *in) {
    while (!list_empty(in)) {
        struct fill_entry *e = container_of(in->next, struct fill_entry, node);
        list_remove(&e->node);
        mem_free(e);
    }
}

void fill_free(struct fill *f) {
    if (!f) return;
    free_all(&f->events);
    free_all(&f->values);
    mem_free(f);
}

static struct slice copy(char **at, struct slice text) {
    struct slice mine = slice_of(*at, text.n);
    if (text.n > 0) memcpy(*at, text.p, text.n);
    *at += text.n;
    return mine;
}

/* Of a channel its owner knows the name, and only of a mark is asked of whom it is. */
static struct fill_entry *copy_entry(const struct entry *e) {
    struct slice slot = e->kind == FEED_MARK ? e->slot : slice_of("", 0);
    size_t n = slot.n + e->event.n + e->key.n + e->data.n + e->evicted.n;
    struct fill_entry *mine = mem_new(sizeof *mine + n);
    char *at = mine->bytes;
    mine->entry = *e;
    mine->entry.channel = mine->entry.token = slice_of("", 0);
    mine->entry.slot = copy(&at, slot);
    mine->entry.event = copy(&at, e->event);
    mine->entry.key = copy(&at, e->key);
    mine->entry.data = copy(&at, e->data);
    mine->entry.evicted = copy(&at, e->evicted);
    return mine;
}

static void add(struct fill *f, struct list *before, const struct entry *e) {
    list_add(before, &copy_entry(e)->node);
    f->n++;
    if (e->seq > f->last) f->last = e->seq;
}

void fill_add(struct fill *f, const struct entry *e) {
    if (e->seq <= f->last && e->kind != FEED_STATE) return;
    add(f, &f->events, e);
}

/* ---- Loads ------------------------------------------------------------------------------ */

void loading_drop(struct loading *l) {
    for (uint32_t i = 0; i < l->n; i++) fill_free(l->rows[i].fill);
    l->n = 0;
}

int loading_ask(const struct loading *l, struct buf *out, const struct scripts *s,
                const struct script_proof *p) {
    struct script_load pages[CLUSTER_LOAD_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->n; i++) {
        const struct load_row *row = &l->rows[i];
        if (row->whole) continue;
        pages[n++] =
            (struct script_load){.kind = row->fill->kind,
                                 .channel = row->fill->channel,
                                 .ttl_s = row->fill->ttl_s,
                                 .before = row->before,
                                 .cursor = slice_str(row->begun ? row->cursor : "0")};
    }
    return script_load(out, s, p, pages, n);
}

/* Of what is paged the older ones are left where they are; a mark is for readers of all ages. */
static void take_entry(struct fill *f, struct list *before, const struct entry *e) {
    bool is_full = f->held >= HELD_EVENTS_MAX || f->held_bytes >= HELD_BYTES_MAX;
    if (f->is_paged && is_full && e->kind != FEED_MARK) {
        if (e->seq > f->gone) f->gone = e->seq;
        f->n++;
        return;
    }
    add(f, before, e);
    if (e->kind == FEED_MARK) return;
    f->held++;
    f->held_bytes += (uint32_t)(e->event.n + e->key.n + e->data.n);
}

/* A page of the history is older than what is there: it goes before that, the newest first. Its numbers rise up
 * to there. */
static bool take_history(struct load_row *row, const struct reply *history,
                         uint64_t upto) {
    struct fill *f = row->fill;
    if (row->oldest > 0) upto = row->oldest - 1;
    for (uint32_t i = history->n; i > 0; i--) {
        struct entry e;
        if (entry_of_history(&history->items[i - 1], &e) < 0 || e.seq > upto)
            return false;
        upto = e.seq - 1;
        row->oldest = e.seq;
        take_entry(f, f->events.next, &e);
    }
    return true;
}

static bool take_values(struct fill *f, const struct reply *values, uint64_t upto) {
    for (uint32_t i = 0; i + 1 < values->n; i += 2) {
        struct entry e;
        if (entry_of_value(&values->items[i], &values->items[i + 1], &e) < 0 ||
            e.seq > upto)
            return false;
        add(f, &f->values, &e);
    }
    return true;
}

/* No number is of a later moment, no page but the last one is empty, and there is an end. */
static bool is_possible(const struct load_row *row, const struct script_loaded *page,
                        uint64_t now) {
    uint32_t brings = page->history->n + page->values->n / 2;
    return page->floor <= now && page->last <= now && (row->whole || brings > 0) &&
           row->fill->n <= FILL_ENTRIES_MAX;
}

static bool take_page(struct load_row *row, const struct script_loaded *page,
                      uint64_t now) {
    struct fill *f = row->fill;
    if (page->cursor.n >= sizeof row->cursor) return false;
    if (!row->begun) row->upto = now;
    row->begun = true;
    if (page->floor < f->floor) f->floor = page->floor;
    if (page->last > f->last) f->last = page->last;
    if (!take_history(row, page->history, now) || !take_values(f, page->values, now))
        return false;
    bool values_end = page->cursor.n == 0 || slice_eq_lit(page->cursor, "0");
    row->before = page->before > 0 ? page->before : 1;
    memcpy(row->cursor, page->cursor.p, page->cursor.n);
    row->cursor[values_end ? 0 : page->cursor.n] = '\0';
    row->whole = row->before == 1 && values_end;
    return is_possible(row, page, now);
}

enum script_answer loading_take(struct loading *l, const struct reply *r, bool *whole) {
    struct script_loaded pages[CLUSTER_LOAD_MAX];
    struct script_now now;
    uint32_t n = 0, at = 0;
    for (uint32_t i = 0; i < l->n; i++) n += !l->rows[i].whole;
    enum script_answer answer = script_loaded(r, &now, pages, &n);
    if (answer != SCRIPT_OK) return answer;
    *whole = true;
    for (uint32_t i = 0; i < l->n; i++) {
        struct load_row *row = &l->rows[i];
        if (!row->whole && at < n && !take_page(row, &pages[at++], now.seq))
            return SCRIPT_SENSELESS;
        *whole = *whole && row->whole;
    }
    return SCRIPT_OK;
}
