/* Ring, floor and the newest per key; see chan.h. */
#include "fan/chan.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/planted.h"

#include <assert.h>

struct chan *chan_new(struct slice name) {
    struct chan *c = mem_new(sizeof *c + name.n + 1);
    memcpy(c->name, name.p, name.n);
    c->node.key = slice_of(c->name, name.n);
    list_init(&c->broad);
    list_init(&c->narrow);
    return c;
}

/* ---- Ring --------------------------------------------------------------------------- */

/* Whether a client misses it when it goes. What its publisher has withdrawn is reported to
 * no client; the time of the newest event decides, which is the same on all threads. */
static bool is_missed(const struct chan *c, const struct frame *f) {
    return !frame_is_over(f, c->last_ms);
}

static void rise(uint64_t *number, uint64_t to) {
    if (to > *number) *number = to;
}

/* The oldest frame leaves the history; it stays in the ring for streams that lag. */
static void leave_history(struct chan *c) {
    struct frame *f = chan_at(c, c->history++);
    bool stored = chan_is_paged(c) && f->seq > c->unstored;
    c->history_bytes -= f->text.n;
    if (is_missed(c, f) && !stored) rise(&c->floor, f->seq);
}

static void leave_ring(struct chan *c) {
    if (c->tail == c->history) leave_history(c);
    struct frame *f = chan_at(c, c->tail++);
    c->ring_bytes -= f->text.n;
    if (is_missed(c, f)) c->gone = f->seq;
    frame_unref(f);
}

static bool over_history(const struct chan *c) {
    const struct policy *p = &c->policy;
    uint64_t held = c->head - c->history;
    return held > p->history ||
           (p->history_bytes > 0 && c->history_bytes > p->history_bytes) ||
           (p->durable && (held > p->held || c->history_bytes > HELD_BYTES_MAX));
}

static bool over_backlog(const struct chan *c) {
    return c->tail < c->history &&
           (c->head - c->tail > BACKLOG_EVENTS_MAX || c->ring_bytes > BACKLOG_BYTES_MAX);
}

static void enforce(struct chan *c) {
    while (c->history < c->head && over_history(c)) leave_history(c);
    while (over_backlog(c)) leave_ring(c);
}

void chan_free(struct chan *c) {
    assert(list_empty(&c->broad) && list_empty(&c->narrow));
    while (c->tail < c->head) leave_ring(c);
    map_deinit(&c->by_key);
    tally_part(c->tally);
    mem_free(c->ring);
    if (c->latest) latest_deinit(c->latest);
    mem_free(c->latest);
    mem_free(c);
}

/* What one kind held means nothing to the other: a client that has not got all of it gets a
 * reset, now or when it comes back with an id below the floor. That is the newest event of a log; the
 * values of a state have no ids, and leave it where it was. */
static void begin_anew(struct chan *c) {
    while (c->tail < c->head) leave_ring(c);
    if (c->kind != CHANNEL_STATE && c->last > c->floor && !PLANTED(25))
        c->floor = c->last;
    c->gone = 0;
}

/* No stream walks the newest per key any more. */
static void drop_latest(struct chan *c) {
    if (!c->latest) return;
    latest_deinit(c->latest);
    mem_free(c->latest);
    c->latest = NULL;
}

/* The newest per key of a log that becomes keyed are those of its history; of a durable one
 * those that are stored, and fan_convert brings what memory does not hold. */
static void make_latest(struct chan *c) {
    c->latest = mem_new(sizeof *c->latest);
    latest_init(c->latest);
    for (uint64_t i = c->history; i < c->head; i++) {
        struct frame *f = chan_at(c, i);
        if (c->policy.durable && f->seq <= c->unstored && !PLANTED(40)) continue;
        if (f->remove) latest_remove(c->latest, f, false, c->policy.max_keys);
        else latest_put(c->latest, f, c->policy.max_keys);
    }
}

uint64_t chan_beyond(const struct chan *c) {
    if (!chan_is_paged(c)) return 0;
    uint64_t left = c->tail < c->history ? chan_at(c, c->history - 1)->seq : c->gone;
    return left > c->floor && left > c->unstored ? left : 0;
}

enum chan_change chan_change(const struct chan *c, const struct policy *policy) {
    enum channel_kind kind = policy_kind(policy);
    if (kind == c->kind) return CHAN_SAME;
    bool turns = (kind == CHANNEL_STATE) != (c->kind == CHANNEL_STATE);
    return turns ? CHAN_TURNS : CHAN_REKEYS;
}

void chan_configure(struct chan *c, const struct policy *policy) {
    enum channel_kind kind = policy_kind(policy);
    enum chan_change change = chan_change(c, policy);
    bool was_durable = c->policy.durable;
    uint64_t beyond = chan_beyond(c); /* what only the store has */
    c->policy = *policy;
    if (change == CHAN_TURNS) begin_anew(c);
    if (policy->durable && !was_durable && !PLANTED(35)) c->unstored = c->last;
    if (change != CHAN_SAME) drop_latest(c);
    if (kind != CHANNEL_LOG && !c->latest) make_latest(c);
    c->kind = kind;
    if (!chan_is_paged(c) && !PLANTED(34)) rise(&c->floor, beyond);
    if (c->latest) latest_limit(c->latest, policy->max_keys);
    enforce(c);
}

/* False when memory is out: the caller makes room by dropping the oldest. */
static bool grow_ring(struct chan *c) {
    uint32_t cap = c->cap ? c->cap * 2 : 4;
    struct frame **ring = mem_try(cap * sizeof *ring);
    if (!ring) return false;
    for (uint64_t i = c->tail; i < c->head; i++) ring[i & (cap - 1)] = chan_at(c, i);
    mem_free(c->ring);
    c->ring = ring;
    c->cap = cap;
    return true;
}

static void push(struct chan *c, struct frame *f) {
    if (c->head - c->tail == c->cap && !grow_ring(c)) {
        if (c->cap == 0) { /* nowhere to keep it: as if trimmed at once, with a reset */
            c->gone = f->seq;
            if (!chan_is_paged(c)) c->floor = f->seq;
            return;
        }
        leave_ring(c);
    }
    c->ring[c->head++ & (c->cap - 1)] = frame_ref(f);
    c->history_bytes += f->text.n;
    c->ring_bytes += f->text.n;
}

void chan_append(struct chan *c, struct frame *f) {
    assert(f->seq > c->last);
    c->last = f->seq;
    c->last_ms = f->at_ms;
    if (f->expires_ms) c->expiring = f->seq;
    c->events++;
    c->bytes += f->text.n;
    if (c->kind != CHANNEL_STATE) push(c, f);
    if (c->latest && f->remove)
        latest_remove(c->latest, f, c->kind == CHANNEL_STATE, c->policy.max_keys);
    else if (c->latest) latest_put(c->latest, f, c->policy.max_keys);
    enforce(c);
}

void chan_trim(struct chan *c, uint64_t seq) {
    bool stay = c->kind == CHANNEL_KEYED && c->history < c->head && !PLANTED(39);
    while (c->history < c->head && chan_at(c, c->history)->seq <= seq) leave_history(c);
    if (c->latest && !c->policy.durable)
        latest_trim(c->latest, seq, stay ? c->last_ms : INT64_MAX);
    enforce(c);
}

void chan_forget_latest(struct chan *c) {
    latest_deinit(c->latest);
    latest_init(c->latest);
}

void chan_raise_floor(struct chan *c, uint64_t floor) {
    rise(&c->floor, floor);
    while (c->history < c->head && chan_at(c, c->history)->seq <= floor) leave_history(c);
    enforce(c);
}

void chan_restore(struct chan *c, uint64_t floor, uint64_t last) {
    assert(c->head == 0);
    c->known = true;
    c->floor = c->unstored = floor;
    c->last = last;
    c->gone = c->kind == CHANNEL_STATE ? 0 : last;
}

void chan_restore_event(struct chan *c, struct frame *f) {
    assert(f->seq > c->last && c->kind != CHANNEL_STATE);
    c->last = f->seq;
    c->last_ms = f->at_ms;
    if (f->expires_ms) c->expiring = f->seq;
    push(c, f);
    enforce(c);
}

void chan_release_backlog(struct chan *c) {
    if (c->n_lagging > 0 || (c->n_pending > 0 && !PLANTED(22))) return;
    while (c->tail < c->history) leave_ring(c);
    if (c->latest && c->latest->removals > 0) latest_forget_removals(c->latest);
}

uint64_t chan_after(const struct chan *c, uint64_t seq) {
    if (c->last <= seq || c->head == c->tail) return c->head;
    uint64_t low = c->tail, high = c->head;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (chan_at(c, middle)->seq > seq) high = middle;
        else low = middle + 1;
    }
    return low;
}

uint64_t chan_oldest(const struct chan *c, uint64_t seq) {
    if (chan_is_paged(c) && c->gone > seq) return seq + 1;
    uint64_t pos = chan_after(c, seq);
    return pos < c->head ? chan_at(c, pos)->seq : 0;
}

struct frame *chan_latest(const struct chan *c, struct slice key, struct slice name,
                          int64_t now_ms) {
    if (c->latest && key.n > 0) return latest_find(c->latest, key, name, now_ms);
    if (c->latest && c->kind == CHANNEL_STATE)
        return latest_newest(c->latest, name, now_ms);
    for (uint64_t i = c->head; i-- > c->history;) {
        struct frame *f = chan_at(c, i);
        if ((name.n == 0 || slice_eq(f->name, name)) &&
            (key.n == 0 || slice_eq(f->key, key)) && !frame_is_over(f, now_ms))
            return f;
    }
    return NULL;
}

uint32_t chan_events(const struct chan *c) {
    if (c->kind == CHANNEL_STATE) return c->latest->live - c->latest->removals;
    return (uint32_t)(c->head - c->history);
}
