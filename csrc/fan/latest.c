/* Slots in order of sequence, and an index by key; see latest.h. */
#include "fan/latest.h"

#include "base/mem.h"
#include "base/planted.h"

#include <assert.h>

/* All entries of one key: few, one per event name. */
struct key {
    struct map_node node;
    struct latest_entry *first;
    uint32_t text_n;
    char text[];
};

struct latest_entry {
    struct latest_entry *next; /* of the same key */
    struct key *key;           /* NULL: a removal that is kept for readers that lag */
    struct frame *frame;
    uint32_t slot;
};

static struct slice text_of(const struct map_node *node) {
    const struct key *k = container_of(node, const struct key, node);
    return slice_of(k->text, k->text_n);
}

struct latest *latest_new(void) {
    struct latest *l = mem_new(sizeof *l);
    map_init(&l->keys, text_of);
    return l;
}

/* ---- Entries ------------------------------------------------------------------------ */

static struct key *key_get(struct latest *l, struct slice text, uint64_t hash) {
    struct map_node *node = map_get_hashed(&l->keys, text, hash);
    if (node) return container_of(node, struct key, node);
    struct key *k = mem_new(sizeof *k + text.n + 1);
    if (text.n > 0) memcpy(k->text, text.p, text.n);
    k->text_n = (uint32_t)text.n;
    map_add(&l->keys, &k->node);
    return k;
}

static void key_drop_if_empty(struct latest *l, struct key *k) {
    if (k->first) return;
    map_remove(&l->keys, &k->node);
    mem_free(k);
}

static void make_hole(struct latest *l, uint32_t slot) {
    l->bytes -= l->slots[slot].entry->frame->text.n;
    l->slots[slot].entry = NULL;
    l->live--;
    while (l->first < l->n && !l->slots[l->first].entry) l->first++;
}

/* Frees the entry and its slot; its key goes with its last entry. */
static void entry_free(struct latest *l, struct latest_entry *e) {
    make_hole(l, e->slot);
    if (e->key) {
        struct latest_entry **at = &e->key->first;
        while (*at != e) at = &(*at)->next;
        *at = e->next;
        key_drop_if_empty(l, e->key);
    } else {
        l->removals--;
    }
    frame_unref(e->frame);
    mem_free(e);
}

void latest_free(struct latest *l) {
    if (!l) return;
    for (uint32_t i = 0; i < l->n; i++)
        if (l->slots[i].entry) entry_free(l, l->slots[i].entry);
    assert(l->keys.n == 0);
    map_deinit(&l->keys);
    mem_free(l->slots);
    mem_free(l);
}

/* ---- Slots -------------------------------------------------------------------------- */

static void pack(struct latest *l) {
    uint32_t n = 0;
    for (uint32_t i = l->first; i < l->n; i++) {
        struct latest_entry *e = l->slots[i].entry;
        if (!e) continue;
        e->slot = n;
        l->slots[n++] = (struct latest_slot){l->slots[i].seq, e};
    }
    l->n = n;
    l->first = 0;
}

enum which { ANY, VALUE, REMOVAL };

/* Returns 1 when there was one. */
static uint32_t drop_oldest(struct latest *l, enum which which) {
    uint32_t i = l->first;
    while (i < l->n && which != ANY && !l->slots[i].entry->key != (which == REMOVAL))
        i = latest_next(l, i);
    if (i == l->n) return 0;
    bool is_reported = which == ANY || !l->slots[i].entry->key;
    if (is_reported && l->slots[i].seq > l->lost) l->lost = l->slots[i].seq;
    entry_free(l, l->slots[i].entry);
    return 1;
}

/* Removals do not count as keys: whether they are kept depends on the subscribers here, and
 * what the channel holds must not. They may be as many again. */
uint32_t latest_limit(struct latest *l, uint32_t max_keys) {
    uint32_t dropped = 0;
    while (l->live - l->removals > max_keys) dropped += drop_oldest(l, VALUE);
    while (l->removals > max_keys) drop_oldest(l, REMOVAL);
    return dropped;
}

/* Make room for one slot at the end. When memory is out the oldest gives its slot, since
 * the newest state matters most. Returns how many did. */
static uint32_t make_room(struct latest *l) {
    if (l->n < l->cap) return 0;
    if (l->n > 2 * l->live) pack(l);
    if (l->n < l->cap) return 0;
    if (l->cap == 0) {
        l->cap = 4;
        l->slots = mem_new(l->cap * sizeof *l->slots);
        return 0;
    }
    struct latest_slot *slots = mem_resize(l->slots, 2 * l->cap * sizeof *slots);
    if (slots) {
        l->slots = slots;
        l->cap *= 2;
        return 0;
    }
    uint32_t dropped = drop_oldest(l, ANY);
    pack(l);
    return dropped;
}

static void append(struct latest *l, struct latest_entry *e) {
    assert(l->n == 0 || l->slots[l->n - 1].seq < e->frame->seq);
    e->slot = l->n;
    l->slots[l->n++] = (struct latest_slot){e->frame->seq, e};
    l->live++;
    l->bytes += e->frame->text.n;
}

uint32_t latest_put(struct latest *l, struct frame *f, uint32_t max_keys) {
    struct key *k = key_get(l, f->key, f->key_hash);
    struct latest_entry *e = k->first;
    while (e && !slice_eq(e->frame->name, f->name)) e = e->next;
    if (e) { /* the old value goes first: its slot becomes the room */
        make_hole(l, e->slot);
        frame_unref(e->frame);
    } else {
        e = mem_new(sizeof *e);
        e->key = k;
        e->next = k->first;
        k->first = e;
    }
    e->frame = frame_ref(f);
    uint32_t dropped = make_room(l);
    append(l, e);
    return dropped + latest_limit(l, max_keys);
}

void latest_remove(struct latest *l, struct frame *f, bool keep, uint32_t max_keys) {
    struct map_node *node = map_get(&l->keys, f->key);
    if (node) {
        struct key *k = container_of(node, struct key, node);
        struct latest_entry *next;
        for (struct latest_entry *e = k->first; e; e = next) {
            next = PLANTED(15) ? NULL : e->next;
            entry_free(l, e);
        }
    }
    if (!keep) return;
    make_room(l);
    struct latest_entry *e = mem_new(sizeof *e);
    e->frame = frame_ref(f);
    l->removals++;
    append(l, e);
    latest_limit(l, max_keys);
}

void latest_forget_removals(struct latest *l) {
    for (uint32_t i = l->first; i < l->n && l->removals > 0; i++)
        if (l->slots[i].entry && !l->slots[i].entry->key)
            entry_free(l, l->slots[i].entry);
}

void latest_trim(struct latest *l, uint64_t seq, int64_t over_ms) {
    for (uint32_t i = l->first; i < l->n && l->slots[i].seq <= seq; i++) {
        if (!l->slots[i].entry) continue;
        if (over_ms < INT64_MAX && !frame_is_over(l->slots[i].entry->frame, over_ms))
            continue;
        if (!l->slots[i].entry->key && l->slots[i].seq > l->lost)
            l->lost = l->slots[i].seq;
        entry_free(l, l->slots[i].entry);
    }
}

bool latest_cut(struct latest *l, uint64_t seq) {
    bool cut = false;
    for (uint32_t i = latest_after(l, seq); i < l->n; i = latest_next(l, i)) {
        entry_free(l, l->slots[i].entry);
        cut = true;
    }
    return cut;
}

/* ---- Looking ------------------------------------------------------------------------ */

uint32_t latest_next(const struct latest *l, uint32_t i) {
    i++;
    while (i < l->n && !l->slots[i].entry) i++;
    return i;
}

uint32_t latest_after(const struct latest *l, uint64_t seq) {
    uint32_t low = l->first, high = l->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (l->slots[middle].seq > seq) high = middle;
        else low = middle + 1;
    }
    while (low < l->n && !l->slots[low].entry) low++;
    return low;
}

struct frame *latest_at(const struct latest *l, uint32_t i) {
    return l->slots[i].entry->frame;
}

static bool is_there(const struct latest_entry *e, struct slice name, int64_t now_ms) {
    return (name.n == 0 || slice_eq(e->frame->name, name)) &&
           !frame_is_over(e->frame, now_ms);
}

struct frame *latest_find(const struct latest *l, struct slice key, struct slice name,
                          int64_t now_ms) {
    struct map_node *node = map_get(&l->keys, key);
    struct frame *best = NULL;
    struct latest_entry *e = node ? container_of(node, struct key, node)->first : NULL;
    for (; e; e = e->next) {
        bool wanted = is_there(e, name, now_ms);
        if (wanted && (!best || e->frame->seq > best->seq)) best = e->frame;
    }
    return best;
}

struct frame *latest_newest(const struct latest *l, struct slice name, int64_t now_ms) {
    for (uint32_t i = l->n; i-- > 0;) {
        const struct latest_entry *e = l->slots[i].entry;
        if (e && e->key && is_there(e, name, now_ms)) return e->frame;
    }
    return NULL;
}
