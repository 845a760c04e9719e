/* Interned sets of names and keys. A filter owns one text, its canonical form (sorted
 * items, each led by its length); both sets are small open-addressed tables that point
 * into it, so asking costs one look-up whatever the size. */
#include "fan/filter.h"

#include "base/mem.h"
#include "base/status.h"

#include <assert.h>
#include <stdlib.h>

struct set {
    bool given;
    uint32_t n;
    uint32_t size; /* slots: a power of two above 2n */
    struct slice *slots;
    struct slice *items; /* all of them, behind the slots */
};

struct filter {
    struct map_node node; /* key: the canonical text */
    struct map *home;
    uint32_t refs;
    struct buf canonical;
    size_t keys_at; /* where the keys begin in it */
    struct set types, keys;
};

struct slice filter_map_key(const struct map_node *node) {
    return buf_slice(&container_of(node, const struct filter, node)->canonical);
}

static int compare(const void *a, const void *b) {
    const struct slice *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int order = n ? memcmp(x->p, y->p, n) : 0;
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

/* Sorts the items and drops what is there twice. Returns how many are left. */
static uint32_t sort(struct slice *items, uint32_t n) {
    uint32_t kept = 0;
    qsort(items, n, sizeof *items, compare);
    for (uint32_t i = 0; i < n; i++)
        if (kept == 0 || !slice_eq(items[i], items[kept - 1])) items[kept++] = items[i];
    return kept;
}

/* The same lists give the same text. */
static int add_canonical(struct buf *b, struct filter_list list) {
    struct slice *sorted = mem_try((list.n + 1) * sizeof *sorted);
    if (!sorted) return E_NOMEM;
    if (list.n > 0) memcpy(sorted, list.items, list.n * sizeof *sorted);
    uint32_t head[2] = {list.given, list.n ? sort(sorted, list.n) : 0};
    int err = buf_add(b, head, sizeof head);
    for (uint32_t i = 0; i < head[1] && err == 0; i++) {
        uint32_t n = (uint32_t)sorted[i].n;
        err = buf_add(b, &n, sizeof n);
        if (err == 0) err = buf_add(b, sorted[i].p, n);
    }
    mem_free(sorted);
    return err;
}

static bool set_has(const struct set *s, struct slice text, uint64_t hash) {
    if (!s->given) return true;
    if (s->n == 0) return false;
    uint32_t at = (uint32_t)hash & (s->size - 1);
    for (; s->slots[at].p; at = (at + 1) & (s->size - 1))
        if (slice_eq(s->slots[at], text)) return true;
    return false;
}

/* Read one list at *p of the canonical text and move *p behind it. */
static int set_read(struct set *s, const char **p) {
    uint32_t head[2], length;
    memcpy(head, *p, sizeof head);
    *p += sizeof head;
    *s = (struct set){.given = head[0] != 0, .n = head[1], .size = 2};
    while (s->size < 2 * s->n + 1) s->size *= 2;
    s->slots = mem_try((s->size + s->n) * sizeof *s->slots);
    if (!s->slots) return E_NOMEM;
    memset(s->slots, 0, s->size * sizeof *s->slots);
    s->items = s->slots + s->size;
    for (uint32_t i = 0; i < s->n; i++) {
        memcpy(&length, *p, sizeof length);
        struct slice text = slice_of(*p + sizeof length, length);
        *p = text.p + text.n;
        uint32_t at = (uint32_t)map_hash(text) & (s->size - 1);
        while (s->slots[at].p) at = (at + 1) & (s->size - 1);
        s->slots[at] = s->items[i] = text;
    }
    return 0;
}

static void filter_free(struct filter *f) {
    buf_free(&f->canonical);
    mem_free(f->types.slots);
    mem_free(f->keys.slots);
    mem_free(f);
}

/* The filter of this text (takes it): the one that is there, or a new one. */
static int intern(struct map *filters, struct buf *canonical, size_t keys_at,
                  struct filter **out) {
    struct map_node *known = map_get(filters, buf_slice(canonical));
    if (known) {
        buf_free(canonical);
        *out = filter_ref(container_of(known, struct filter, node));
        return 0;
    }
    struct filter *f = mem_new(sizeof *f);
    f->canonical = *canonical;
    f->keys_at = keys_at;
    const char *p = f->canonical.p;
    int err = set_read(&f->types, &p);
    if (err == 0) err = set_read(&f->keys, &p);
    if (err < 0) {
        filter_free(f);
        return err;
    }
    f->refs = 1;
    f->home = filters;
    map_add(filters, &f->node);
    *out = f;
    return 0;
}

/* One list: the one that is given, else the base's. */
static int add_list(struct buf *b, struct filter_list list, struct slice base) {
    if (list.given || base.n == 0) return add_canonical(b, list);
    return buf_add(b, base.p, base.n);
}

int filter_change(struct map *filters, const struct filter *base,
                  struct filter_list types, struct filter_list keys,
                  struct filter **out) {
    struct slice types_text = {0}, keys_text = {0};
    *out = NULL;
    if (base) {
        types_text = slice_of(base->canonical.p, base->keys_at);
        keys_text = slice_of(base->canonical.p + base->keys_at,
                             base->canonical.n - base->keys_at);
    } else if (!types.given && !keys.given) {
        return 0;
    }
    struct buf canonical = {0};
    int err = add_list(&canonical, types, types_text);
    size_t keys_at = canonical.n;
    if (err == 0) err = add_list(&canonical, keys, keys_text);
    if (err == 0) return intern(filters, &canonical, keys_at, out);
    buf_free(&canonical);
    return err;
}

int filter_intern(struct map *filters, struct filter_list types, struct filter_list keys,
                  struct filter **out) {
    return filter_change(filters, NULL, types, keys, out);
}

struct filter *filter_ref(struct filter *f) {
    if (f) f->refs++;
    return f;
}

void filter_unref(struct filter *f) {
    if (!f) return;
    assert(f->refs > 0);
    if (--f->refs > 0) return;
    map_remove(f->home, &f->node);
    filter_free(f);
}

bool filter_wants(const struct filter *f, const struct frame *frame) {
    return !f || (set_has(&f->types, frame->name, frame->name_hash) &&
                  set_has(&f->keys, frame->key, frame->key_hash));
}

static struct filter_list list_of(const struct set *s) {
    return (struct filter_list){s->items, s->n, s->given};
}

void filter_lists(const struct filter *f, struct filter_list *types,
                  struct filter_list *keys) {
    *types = f ? list_of(&f->types) : (struct filter_list){0};
    *keys = f ? list_of(&f->keys) : (struct filter_list){0};
}

bool filter_has_types(const struct filter *f) {
    return f && f->types.given;
}

bool filter_has_keys(const struct filter *f) {
    return f && f->keys.given;
}

uint32_t filter_n_keys(const struct filter *f) {
    return f->keys.n;
}

struct slice filter_key(const struct filter *f, uint32_t i) {
    return f->keys.items[i];
}
