/* Channels by their last event; see recent.h. */
#include "cluster/recent.h"

#include "base/bounds.h"
#include "base/mem.h"

struct row {
    struct map_node node;
    struct list order;
    uint64_t seq; /* 0: nothing since the last loss */
    int64_t at_ms;
    bool owed;
    size_t n;
    char name[];
};

static struct row *row_of(const struct list *order) {
    return container_of(order, struct row, order);
}

static struct slice key_of(const struct map_node *node) {
    const struct row *row = container_of(node, struct row, node);
    return slice_of(row->name, row->n);
}

void recent_init(struct recent *r) {
    *r = (struct recent){0};
    map_init(&r->map, key_of);
    list_init(&r->order);
}

static void forget(struct recent *r, struct row *row) {
    if (row->seq > r->forgotten) r->forgotten = row->seq;
    if (row->seq > 0) r->forgotten_ms = row->at_ms;
    r->owes_all = r->owes_all || row->owed;
    r->n_owed -= row->owed;
    map_remove(&r->map, &row->node);
    list_remove(&row->order);
    mem_free(row);
    r->n--;
}

void recent_deinit(struct recent *r) {
    while (!list_empty(&r->order)) forget(r, row_of(r->order.next));
    map_deinit(&r->map);
}

static struct row *add(struct recent *r, struct slice channel) {
    struct row *row = mem_new(sizeof *row + channel.n);
    if (r->n == MARKS_MAX) forget(r, row_of(r->order.next));
    row->n = channel.n;
    if (channel.n > 0) memcpy(row->name, channel.p, channel.n);
    list_init(&row->order);
    map_add(&r->map, &row->node);
    r->n++;
    return row;
}

void recent_note(struct recent *r, struct slice channel, uint64_t hash, uint64_t seq,
                 int64_t now_ms) {
    struct map_node *node = map_get_hashed(&r->map, channel, hash);
    struct row *row = node ? container_of(node, struct row, node) : add(r, channel);
    if (seq > row->seq) row->seq = seq;
    row->at_ms = now_ms;
    list_remove(&row->order);
    list_add(&r->order, &row->order);
}

static void owe(struct recent *r, int64_t at_ms) {
    bool is_first = r->n_owed == 0 && !r->owes_all;
    if (is_first || at_ms > r->owed_ms) r->owed_ms = at_ms;
}

void recent_lose(struct recent *r, uint64_t base, int64_t since_ms) {
    for (struct list *at = r->order.next; at != &r->order; at = at->next) {
        struct row *row = row_of(at);
        if (row->seq > base && row->at_ms >= since_ms) {
            owe(r, row->at_ms);
            r->n_owed += !row->owed;
            row->owed = true;
        }
        row->seq = 0;
    }
    if (r->forgotten > base && r->forgotten_ms >= since_ms) {
        owe(r, r->forgotten_ms);
        r->owes_all = true;
    }
    r->forgotten = 0;
}

unsigned recent_owed(const struct recent *r, struct slice *channels, unsigned most) {
    unsigned n = 0;
    for (struct list *at = r->order.next; at != &r->order && n < most; at = at->next)
        if (row_of(at)->owed) channels[n++] = key_of(&row_of(at)->node);
    return n;
}

void recent_paid(struct recent *r) {
    for (struct list *at = r->order.next; at != &r->order; at = at->next)
        row_of(at)->owed = false;
    r->n_owed = 0;
    r->owes_all = false;
}
