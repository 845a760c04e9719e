/* A deep copy: counted first, then laid out behind the struct; see plan.h. */
#include "fan/plan.h"

#include "base/mem.h"

static size_t list_bytes(struct filter_list list) {
    size_t n = list.n * sizeof *list.items;
    for (uint32_t i = 0; i < list.n; i++) n += list.items[i].n;
    return n;
}

/* Text goes to the end of the allocation, so that the slices stay aligned. */
struct room {
    struct slice *slices;
    char *text;
};

static struct slice copy_text(struct room *room, struct slice from) {
    struct slice to = slice_of(room->text, from.n);
    if (from.n > 0) memcpy(room->text, from.p, from.n);
    room->text += from.n;
    return to;
}

static struct filter_list copy_list(struct room *room, struct filter_list from) {
    struct filter_list to = {room->slices, from.n, from.given};
    for (uint32_t i = 0; i < from.n; i++)
        *room->slices++ = copy_text(room, from.items[i]);
    return to;
}

static uint64_t mark_list(uint64_t mark, struct filter_list list) {
    mark = map_mark(mark, slice_str(list.given ? "given" : "all"));
    for (uint32_t i = 0; i < list.n; i++) mark = map_mark(mark, list.items[i]);
    return mark;
}

uint64_t plan_mark(const struct plan_spec *spec) {
    uint64_t mark = spec->options.plain;
    for (uint32_t i = 0; i < spec->n; i++) {
        const struct sub_spec *sub = &spec->subs[i];
        int64_t how[2] = {sub->rewind, sub->period_ms};
        mark = map_mark(map_mark(mark, sub->channel), slice_of((char *)how, sizeof how));
        mark = mark_list(mark_list(mark, sub->types), sub->keys);
    }
    return mark;
}

struct plan *plan_new(const struct plan_spec *spec) {
    const struct sub_spec *subs = spec->subs;
    const struct feed_spec *feed = &spec->options.feed;
    size_t slices = feed->closes.n, bytes = feed->type.n + list_bytes(feed->closes);
    for (uint32_t i = 0; i < spec->n; i++) {
        slices += subs[i].types.n + subs[i].keys.n;
        bytes += subs[i].channel.n + list_bytes(subs[i].types) + list_bytes(subs[i].keys);
    }
    struct plan *p = mem_try(sizeof *p + spec->n * sizeof *subs + bytes);
    if (!p) return NULL;
    atomic_init(&p->refs, 1);
    p->options = spec->options;
    p->n = spec->n;
    struct room room = {(struct slice *)&p->specs[spec->n], NULL};
    room.text = (char *)(room.slices + slices);
    p->options.feed.type = copy_text(&room, feed->type);
    p->options.feed.closes = copy_list(&room, feed->closes);
    for (uint32_t i = 0; i < spec->n; i++) {
        struct sub_spec *to = &p->specs[i];
        *to = subs[i];
        to->channel = copy_text(&room, subs[i].channel);
        to->types = copy_list(&room, subs[i].types);
        to->keys = copy_list(&room, subs[i].keys);
    }
    return p;
}

struct plan *plan_ref(struct plan *p) {
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void plan_unref(struct plan *p) {
    if (p && atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1)
        mem_free(p);
}
