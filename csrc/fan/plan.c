/* Deep copies of specs: counted first, then laid out behind the struct. */
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

struct plan *plan_new(const struct sub_spec *specs, uint32_t n, double heartbeat,
                      bool plain) {
    size_t slices = 0, bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        slices += specs[i].types.n + specs[i].keys.n;
        bytes +=
            specs[i].channel.n + list_bytes(specs[i].types) + list_bytes(specs[i].keys);
    }
    struct plan *p = mem_try(sizeof *p + n * sizeof *specs + bytes);
    if (!p) return NULL;
    atomic_init(&p->refs, 1);
    p->heartbeat = heartbeat;
    p->plain = plain;
    p->n = n;
    struct room room = {(struct slice *)&p->specs[n], NULL};
    room.text = (char *)(room.slices + slices);
    for (uint32_t i = 0; i < n; i++) {
        p->specs[i].channel = copy_text(&room, specs[i].channel);
        p->specs[i].types = copy_list(&room, specs[i].types);
        p->specs[i].keys = copy_list(&room, specs[i].keys);
        p->specs[i].rewind = specs[i].rewind;
        p->specs[i].period_ms = specs[i].period_ms;
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
