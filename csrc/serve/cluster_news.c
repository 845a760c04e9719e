/* Frames of what was loaded, and posting; see cluster_news.h. */
#include "serve/cluster_news.h"

#include "base/mem.h"
#include "base/planted.h"
#include "serve/to_app.h"
#include "serve/to_io.h"

#include <stdlib.h>

/* ---- Made and freed ------------------------------------------------------------------- */

struct cluster_news *news_new(enum news_kind kind, struct slice channel) {
    struct cluster_news *n = mem_new(sizeof *n);
    atomic_init(&n->refs, 1);
    n->kind = kind;
    n->channel = slice_of(mem_strndup(channel.p, channel.n), channel.n);
    return n;
}

static void free_frames(struct frame **frames, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) frame_unref(frames[i]);
    mem_free(frames);
}

void news_unref(struct cluster_news *n) {
    if (atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) > 1) return;
    for (uint32_t i = 0; i < n->n; i++) {
        free_frames(n->fills[i].chan.frames, n->fills[i].chan.n);
        free_frames(n->fills[i].chan.values, n->fills[i].chan.n_values);
        mem_free((char *)n->fills[i].channel.p);
    }
    mem_free(n->fills);
    mem_free((char *)n->channel.p);
    mem_free(n);
}

/* ---- Filled channels ------------------------------------------------------------------- */

struct frame *news_frame(struct slice channel, const struct entry *e,
                         const struct news_fill *how) {
    struct frame_row row = {.event = {.channel = channel,
                                      .name = e->event,
                                      .key = e->key,
                                      .data = e->data,
                                      .remove = e->remove},
                            .seq = e->seq,
                            .at_ms = e->time_ms,
                            .expires_ms = e->expires_ms,
                            .boot_ms = how->clock.boot_ms};
    struct frame *frame;
    return frame_restore(&frame, &row, !how->is_state, how->epoch) == 0 ? frame : NULL;
}

static const struct entry *entry_at(const struct list *at) {
    return &container_of(at, struct fill_entry, node)->entry;
}

static uint32_t count(const struct list *in) {
    uint32_t n = 0;
    for (const struct list *at = in->next; at != in; at = at->next) n++;
    return n;
}

bool news_is_old(const struct entry *e, const struct news_fill *how) {
    int64_t age_ms = how->clock.now_ms + how->clock.boot_ms - e->time_ms;
    return how->ttl_ms > 0 && age_ms > how->ttl_ms;
}

static void add_mark(struct fan_fill *to, const struct entry *e,
                     const struct news_fill *how) {
    to->chan.marked = e->seq;
    if (!slice_eq(e->slot, slice_str(how->slot))) to->marked_by_others = e->seq;
}

/* The history. Redis keeps what is too old until the channel is quiet. */
static void add_history(struct fan_fill *fan, const struct fill *f,
                        const struct news_fill *how) {
    struct chan_fill *to = &fan->chan;
    to->floor = f->floor;
    to->gone = f->gone;
    to->frames = mem_new((count(&f->events) + 1) * sizeof *to->frames);
    for (const struct list *at = f->events.next; at != &f->events; at = at->next) {
        const struct entry *e = entry_at(at);
        struct frame *frame = NULL;
        if (e->kind == FEED_MARK) add_mark(fan, e, how);
        else if (!news_is_old(e, how)) frame = news_frame(f->channel, e, how);
        if (frame) to->frames[to->n++] = frame;
        else if (e->kind != FEED_MARK && e->seq > to->floor) to->floor = e->seq;
    }
}

/* What became of a name and key at a number; of a removal: of all names of the key. */
struct value {
    struct slice event, key;
    uint64_t seq;
    bool removed;
    const struct entry *entry; /* NULL: it went */
};

static int compare_slices(struct slice a, struct slice b) {
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n > 0 ? memcmp(a.p, b.p, n) : 0;
    return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
}

static int by_number(const void *a, const void *b) {
    const struct value *x = a, *y = b;
    return (x->seq > y->seq) - (x->seq < y->seq);
}

static int compare_fields(const struct value *x, const struct value *y) {
    int c = compare_slices(x->event, y->event);
    return c != 0 ? c : compare_slices(x->key, y->key);
}

static int by_field(const void *a, const void *b) {
    int c = compare_fields(a, b);
    return c != 0 ? c : by_number(a, b);
}

static uint32_t note(struct value *values, uint32_t n, const struct entry *e) {
    values[n++] =
        (struct value){e->event, e->key, e->seq, e->remove, e->remove ? NULL : e};
    const char *end = e->evicted.n > 0 ? memchr(e->evicted.p, '\0', e->evicted.n) : NULL;
    if (!end) return n;
    size_t event = (size_t)(end - e->evicted.p);
    values[n++] =
        (struct value){slice_of(e->evicted.p, event),
                       slice_of(end + 1, e->evicted.n - event - 1), e->seq, false, NULL};
    return n;
}

/* Those of the load, and those that the feed brought behind it: history says nothing of them. */
static uint32_t collect(const struct fill *f, struct value *values) {
    uint32_t n = 0;
    for (const struct list *at = f->values.next; at != &f->values; at = at->next)
        n = note(values, n, entry_at(at));
    for (const struct list *at = f->events.next; at != &f->events; at = at->next) {
        const struct entry *e = entry_at(at);
        if (e->kind == FEED_KEYED || e->kind == FEED_STATE) n = note(values, n, e);
    }
    return n;
}

/* Whether its key was removed behind it. Few are removed while a channel is loaded. */
static bool is_removed(const struct value *v, const struct value *removals, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (removals[i].seq > v->seq && slice_eq(removals[i].key, v->key)) return true;
    return false;
}

/* Those go that were removed; the removals stand behind the others then. Returns how many
 * others there are. */
static uint32_t drop_removed(struct value *values, uint32_t n) {
    uint32_t kept = 0, left = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct value v = values[i];
        if (v.removed) continue;
        values[i] = values[left];
        values[left++] = v;
    }
    for (uint32_t i = 0; i < left; i++)
        if (!is_removed(&values[i], values + left, n - left)) values[kept++] = values[i];
    return kept;
}

/* The newest of each field, by number. */
static uint32_t newest(struct value *values, uint32_t n) {
    uint32_t kept = 0;
    if (!PLANTED(661)) n = drop_removed(values, n);
    qsort(values, n, sizeof *values, by_field);
    for (uint32_t i = 0; i < n; i++) {
        bool is_last = i + 1 == n || compare_fields(&values[i], &values[i + 1]) != 0;
        if (is_last && values[i].entry) values[kept++] = values[i];
    }
    qsort(values, kept, sizeof *values, by_number);
    return kept;
}

static void add_values(struct chan_fill *to, const struct fill *f,
                       const struct news_fill *how) {
    uint32_t most = 2 * (count(&f->values) + count(&f->events)) + 1;
    struct value *values = mem_new(most * sizeof *values);
    uint32_t n = newest(values, collect(f, values));
    to->values = mem_new((n + 1) * sizeof *to->values);
    for (uint32_t i = 0; i < n; i++) {
        struct frame *frame = NULL;
        bool is_over =
            how->is_state && news_is_old(values[i].entry, how); /* else they stay */
        if (!is_over) frame = news_frame(f->channel, values[i].entry, how);
        if (frame) to->values[to->n_values++] = frame;
    }
    mem_free(values);
}

void news_add_fill(struct cluster_news *n, const struct fill *f,
                   const struct news_fill *how) {
    struct fan_fill *fills = mem_resize(n->fills, (n->n + 1) * sizeof *fills);
    if (!fills) return; /* it stays as it is, and its readers lag behind what there is */
    n->fills = fills;
    struct fan_fill *to = &fills[n->n++];
    *to = (struct fan_fill){
        .channel = slice_of(mem_strndup(f->channel.p, f->channel.n), f->channel.n),
        .upto = f->last > how->upto ? f->last : how->upto,
        .lost = how->lost,
        .chan = {.last = f->last}};
    if (!how->is_state) add_history(to, f, how);
    if (f->kind != FEED_LOG) add_values(&to->chan, f, how);
}

/* ---- Posting ------------------------------------------------------------------------- */

static struct message *message_of(struct cluster_news *n) {
    struct news_post *post = mem_new(sizeof *post);
    atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
    post->news = n;
    return &post->message;
}

void news_post(struct hub *hub, struct cluster_news *n) {
    struct message *messages[IO_THREADS_MAX];
    for (unsigned i = 0; i < hub->n_lanes; i++) messages[i] = message_of(n);
    const struct seq_command c = {.epoch = n->kind == NEWS_EPOCH ? n->name : NULL,
                                  .messages = messages,
                                  .deliver = io_on_cluster,
                                  .own = message_of(n),
                                  .on_own = app_on_cluster};
    seq_command(&hub->seq, &c);
    news_unref(n);
}

void news_apply(struct fan *fan, const struct cluster_news *n) {
    switch (n->kind) {
    case NEWS_FILLS: fan_fill(fan, n->fills, n->n); break;
    case NEWS_EPOCH: fan_epoch(fan, &n->epoch); break;
    case NEWS_MARK: fan_mark(fan, &(struct fan_mark){n->channel, n->seq, n->own}); break;
    case NEWS_DROP:
        if (!chans_is_local(&fan->chans, n->channel)) fan_forget(fan, n->channel);
        break;
    }
}
