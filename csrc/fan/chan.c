/* Ring, floor and the newest per key; see chan.h. */
#include "fan/chan.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/planted.h"

#include <assert.h>

static const struct kept nothing;

static size_t size_of(size_t name_n) {
    return offsetof(struct chan, name) + name_n + 1;
}

struct chan *chan_new(struct pools *pools, struct slice name,
                      const struct policy *policy) {
    struct chan *c = pools_new(pools, size_of(name.n));
    memcpy(c->name, name.p, name.n);
    c->name_n = (uint16_t)name.n;
    c->policy = policy;
    c->kind = policy_kind(policy);
    c->kept = &nothing;
    return c;
}

struct kept *chan_keep(struct chan *c) {
    if (c->kept == &nothing) {
        struct kept *k = mem_new(sizeof *k);
        k->latest = c->kind != CHANNEL_LOG ? latest_new() : NULL;
        c->kept = k;
    }
    return (struct kept *)c->kept;
}

/* ---- Ring --------------------------------------------------------------------------- */

/* Whether a client misses it when it goes. What its publisher has withdrawn is reported to
 * no client; the time of the newest event decides, which is the same on all threads. */
static bool is_missed(const struct kept *k, const struct frame *f) {
    return !frame_is_over(f, k->last_ms);
}

static void raise_floor(struct chan *c, uint64_t to, enum lost_by by) {
    struct kept *k = chan_keep(c);
    if (to <= k->floor || c->policy->local) return;
    k->floor = to;
    losses_note(&k->losses, by, to);
}

static bool over_policy(const struct chan *c) {
    const struct policy *p = c->policy;
    const struct kept *k = c->kept;
    return k->head - k->history > p->history ||
           (p->history_bytes > 0 && k->history_bytes > p->history_bytes);
}

/* Whether it is left where its pages come from. Redis has trimmed it when its turn comes here. */
static bool is_stored(const struct chan *c, const struct frame *f) {
    bool is_trimmed = c->policy->in_redis && over_policy(c);
    return chan_is_paged(c) && f->seq > c->kept->unstored && !is_trimmed;
}

/* The oldest frame leaves the history; it stays in the ring for streams that lag. */
static void leave_history(struct chan *c, enum lost_by by) {
    struct kept *k = chan_keep(c);
    struct frame *f = chan_at(c, k->history);
    bool stored = is_stored(c, f);
    k->history++;
    k->history_bytes -= f->text.n;
    if (is_missed(k, f) && !stored) raise_floor(c, f->seq, by);
}

static void leave_ring(struct chan *c, enum lost_by by) {
    struct kept *k = chan_keep(c);
    if (k->tail == k->history) leave_history(c, by);
    struct frame *f = chan_at(c, k->tail++);
    k->ring_bytes -= f->text.n;
    if (is_missed(k, f)) k->gone = f->seq;
    frame_unref(f);
}

static bool over_history(const struct chan *c) {
    const struct policy *p = c->policy;
    const struct kept *k = c->kept;
    uint64_t held = k->head - k->history;
    return over_policy(c) ||
           (p->durable && (held > p->held || k->history_bytes > HELD_BYTES_MAX));
}

static bool over_backlog(const struct kept *k) {
    return k->tail < k->history &&
           (k->head - k->tail > BACKLOG_EVENTS_MAX || k->ring_bytes > BACKLOG_BYTES_MAX);
}

static void enforce(struct chan *c, enum lost_by by) {
    while (c->kept->history < c->kept->head && over_history(c)) leave_history(c, by);
    while (over_backlog(c->kept)) leave_ring(c, LOST_BACKLOG);
}

void chan_free(struct pools *pools, struct chan *c) {
    assert(!c->whole && !c->filtered);
    while (c->kept->tail < c->kept->head) leave_ring(c, LOST_FORGOTTEN);
    if (c->kept != &nothing) {
        struct kept *k = chan_keep(c);
        tally_part(k->tally);
        mem_free(k->ring);
        mem_free(k->losses);
        latest_free(k->latest);
        mem_free(k);
    }
    pools_free(pools, c, size_of(c->name_n));
}

/* What one kind held means nothing to the other: a client that has not got all of it gets a
 * reset, now or when it comes back with an id below the floor. That is the newest event of a log; the
 * values of a state have no ids, and leave it where it was. */
static void begin_anew(struct chan *c) {
    struct kept *k = chan_keep(c);
    while (k->tail < k->head) leave_ring(c, LOST_RELOAD);
    if (c->kind != CHANNEL_STATE && !PLANTED(25)) raise_floor(c, k->last, LOST_RELOAD);
    k->gone = 0;
}

/* The newest per key of a log that becomes keyed are those of its history; of a durable one
 * those that are stored, and fan_convert brings what memory does not hold. */
static struct latest *make_latest(const struct chan *c) {
    struct latest *latest = latest_new();
    for (uint64_t i = c->kept->history; i < c->kept->head; i++) {
        struct frame *f = chan_at(c, i);
        if (c->policy->durable && f->seq <= c->kept->unstored && !PLANTED(40)) continue;
        if (f->remove) latest_remove(latest, f, false, c->policy->max_keys);
        else latest_put(latest, f, c->policy->max_keys);
    }
    return latest;
}

uint64_t chan_beyond(const struct chan *c) {
    const struct kept *k = c->kept;
    if (!chan_is_paged(c)) return 0;
    uint64_t left = k->tail < k->history ? chan_at(c, k->history - 1)->seq : k->gone;
    return left > k->floor && left > k->unstored ? left : 0;
}

enum chan_change chan_change(const struct chan *c, const struct policy *policy) {
    enum channel_kind kind = policy_kind(policy);
    if (policy->local != c->policy->local) return CHAN_MOVES;
    if (kind == c->kind) return CHAN_SAME;
    bool turns = (kind == CHANNEL_STATE) != (c->kind == CHANNEL_STATE);
    return turns ? CHAN_TURNS : CHAN_REKEYS;
}

/* As if it were new, but for its figures. */
static void move_over(struct chan *c) {
    struct kept *k = chan_keep(c);
    while (k->tail < k->head) leave_ring(c, LOST_RELOAD);
    mem_free(k->losses);
    latest_free(k->latest);
    k->losses = NULL;
    k->latest = policy_kind(c->policy) != CHANNEL_LOG ? latest_new() : NULL;
    k->floor = k->gone = k->unstored = k->last = k->marked = k->expiring = 0;
    k->ended = false;
    c->known = false;
}

/* What it keeps is for its new policy. */
static void convert(struct chan *c, enum chan_change change, bool was_durable) {
    struct kept *k = chan_keep(c);
    if (change == CHAN_MOVES) {
        move_over(c);
        return;
    }
    if (change == CHAN_TURNS) begin_anew(c);
    bool is_new = c->policy->durable && !was_durable && !c->policy->in_redis;
    if (is_new && !PLANTED(35)) k->unstored = k->last;
    if (change == CHAN_SAME) return;
    latest_free(k->latest); /* no stream walks the newest per key any more */
    k->latest = policy_kind(c->policy) != CHANNEL_LOG ? make_latest(c) : NULL;
}

void chan_configure(struct chan *c, const struct policy *policy) {
    enum chan_change change = chan_change(c, policy);
    bool was_durable = c->policy->durable;
    uint64_t beyond = chan_beyond(c); /* what only the store has */
    c->policy = policy;
    if (c->kept != &nothing) convert(c, change, was_durable);
    if (change == CHAN_MOVES) c->unfilled = !policy->local;
    c->kind = policy_kind(policy);
    if (beyond > 0 && change != CHAN_MOVES && !chan_is_paged(c) && !PLANTED(34))
        raise_floor(c, beyond, LOST_RELOAD);
    if (c->kept->latest) latest_limit(c->kept->latest, policy->max_keys);
    enforce(c, LOST_RELOAD);
}

/* False when memory is out: the caller makes room by dropping the oldest. */
static bool grow_ring(struct chan *c) {
    struct kept *k = chan_keep(c);
    uint32_t cap = k->cap ? k->cap * 2 : 4;
    struct frame **ring = mem_try(cap * sizeof *ring);
    if (!ring) return false;
    for (uint64_t i = k->tail; i < k->head; i++) ring[i & (cap - 1)] = chan_at(c, i);
    mem_free(k->ring);
    k->ring = ring;
    k->cap = cap;
    return true;
}

static void push(struct chan *c, struct frame *f) {
    struct kept *k = chan_keep(c);
    if (k->head - k->tail == k->cap && !grow_ring(c)) {
        if (k->cap == 0) { /* nowhere to keep it: as if trimmed at once, with a reset */
            k->gone = f->seq;
            if (!chan_is_paged(c)) raise_floor(c, f->seq, LOST_ROOM);
            return;
        }
        leave_ring(c, LOST_ROOM);
    }
    k->ring[k->head++ & (k->cap - 1)] = frame_ref(f);
    k->history_bytes += f->text.n;
    k->ring_bytes += f->text.n;
}

static void note_newest(struct kept *k, const struct frame *f) {
    assert(f->seq > k->last);
    k->last = f->seq;
    k->last_ms = f->at_ms;
    if (f->expires_ms) k->expiring = f->seq;
}

void chan_append(struct chan *c, struct frame *f) {
    struct kept *k = chan_keep(c);
    note_newest(k, f);
    k->events++;
    k->bytes += f->text.n;
    if (c->kind != CHANNEL_STATE) push(c, f);
    if (k->latest && f->remove)
        latest_remove(k->latest, f, c->kind == CHANNEL_STATE, c->policy->max_keys);
    else if (k->latest) latest_put(k->latest, f, c->policy->max_keys);
    enforce(c, LOST_HISTORY);
}

/* Those up to a number leave the history. */
static void trim_history(struct chan *c, uint64_t seq, enum lost_by by) {
    const struct kept *k = c->kept;
    while (k->history < k->head && chan_at(c, k->history)->seq <= seq)
        leave_history(c, by);
}

void chan_trim(struct chan *c, uint64_t seq, enum lost_by by) {
    const struct kept *k = c->kept;
    bool stay = c->kind == CHANNEL_KEYED && k->history < k->head && !PLANTED(39);
    trim_history(c, seq, by);
    if (k->latest && !c->policy->durable)
        latest_trim(k->latest, seq, stay ? k->last_ms : INT64_MAX);
    enforce(c, by);
}

void chan_forget_latest(struct chan *c) {
    struct kept *k = chan_keep(c);
    latest_free(k->latest);
    k->latest = latest_new();
}

void chan_raise_floor(struct chan *c, uint64_t floor) {
    raise_floor(c, floor, LOST_STORED);
    trim_history(c, floor, LOST_STORED);
    enforce(c, LOST_STORED);
}

void chan_restore(struct chan *c, uint64_t floor, uint64_t last) {
    struct kept *k = chan_keep(c);
    assert(k->head == 0);
    c->known = true;
    raise_floor(c, floor, LOST_STORED);
    k->unstored = floor;
    k->last = last;
    k->gone = c->kind == CHANNEL_STATE ? 0 : last;
}

void chan_restore_event(struct chan *c, struct frame *f) {
    assert(c->kind != CHANNEL_STATE);
    note_newest(chan_keep(c), f);
    push(c, f);
    enforce(c, LOST_HISTORY);
}

void chan_restore_newest(struct chan *c, struct frame *f) {
    latest_put(chan_keep(c)->latest, f, c->policy->max_keys);
}

void chan_release_backlog(struct chan *c) {
    const struct kept *k = c->kept;
    if (c->n_lagging > 0 || (k->n_pending > 0 && !PLANTED(22))) return;
    while (k->tail < k->history) leave_ring(c, LOST_BACKLOG);
    if (k->latest && k->latest->removals > 0) latest_forget_removals(k->latest);
}

/* ---- Of a cluster ------------------------------------------------------------------- */

/* The newest frame goes: nobody has lost it who was not told. */
static void take_newest(struct kept *k) {
    struct frame *f = k->ring[--k->head & (k->cap - 1)];
    k->ring_bytes -= f->text.n;
    if (k->head >= k->history) k->history_bytes -= f->text.n;
    else k->history = k->head;
    frame_unref(f);
}

/* Whether a value is gone, or an older one has taken its place again; or a removal, which a reader
 * that lags has not seen. Of a keyed log what has no key is of a node where it is a log still: its
 * history has that, and nothing newest. */
static bool loses_value(const struct latest *old, const struct latest *now,
                        bool is_keyed) {
    uint32_t i = old ? latest_after(old, 0) : 0;
    for (; old && i < old->n; i = latest_next(old, i)) {
        const struct frame *f = latest_at(old, i);
        const struct frame *left = latest_find(now, f->key, f->name, 0);
        if (is_keyed && f->key.n == 0) continue;
        if (!left || (left->seq < f->seq && !PLANTED(637))) return true;
    }
    return false;
}

/* The values; true: one is gone. */
static bool refill_latest(struct chan *c, const struct chan_fill *f) {
    struct kept *k = chan_keep(c);
    struct latest *old = k->latest;
    if (c->kind == CHANNEL_LOG) return false;
    k->latest = latest_new();
    for (uint32_t i = 0; i < f->n_values; i++)
        latest_put(k->latest, f->values[i], c->policy->max_keys);
    bool loses = loses_value(old, k->latest, c->kind == CHANNEL_KEYED);
    latest_free(old);
    return loses;
}

bool chan_refill(struct chan *c, const struct chan_fill *f) {
    struct kept *k = chan_keep(c);
    while (k->head > k->tail) take_newest(k);
    c->known = true;
    c->unfilled = k->ended = false;
    k->history = k->tail;
    k->history_bytes = k->ring_bytes = 0;
    k->last = 0;
    k->marked = f->marked;
    k->gone = f->gone > f->floor && !PLANTED(680) ? f->gone : f->floor;
    if (c->kind == CHANNEL_STATE) k->gone = 0;
    k->unstored = f->floor;
    k->floor = 0;
    raise_floor(c, f->floor, LOST_HISTORY);
    for (uint32_t i = 0; i < f->n && c->kind != CHANNEL_STATE; i++) {
        note_newest(k, f->frames[i]);
        push(c, f->frames[i]);
    }
    bool loses = refill_latest(c, f);
    if (f->last > k->last) k->last = f->last;
    enforce(c, LOST_HISTORY);
    return loses;
}

void chan_cut(struct chan *c, uint64_t base) {
    if (c->kept == &nothing) return;
    struct kept *k = chan_keep(c);
    while (k->head > k->tail && chan_at(c, k->head - 1)->seq > base) take_newest(k);
    if (k->last > base) k->last = base;
    if (k->floor > base) k->floor = base;
    if (k->gone > base) k->gone = base;
    if (k->unstored > base) k->unstored = base;
    if (c->kind == CHANNEL_STATE) k->ended = true; /* what has come back, its fill says */
    if (c->kind == CHANNEL_KEYED) k->ended = latest_cut(k->latest, base) || k->ended;
}

/* ---- Looking ------------------------------------------------------------------------ */

uint64_t chan_after(const struct chan *c, uint64_t seq) {
    const struct kept *k = c->kept;
    if (k->last <= seq || k->head == k->tail) return k->head;
    uint64_t low = k->tail, high = k->head;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (chan_at(c, middle)->seq > seq) high = middle;
        else low = middle + 1;
    }
    return low;
}

uint64_t chan_oldest(const struct chan *c, uint64_t seq) {
    if (chan_is_paged(c) && c->kept->gone > seq) return seq + 1;
    uint64_t pos = chan_after(c, seq);
    return pos < c->kept->head ? chan_at(c, pos)->seq : 0;
}

struct frame *chan_latest(const struct chan *c, struct slice key, struct slice name,
                          int64_t now_ms) {
    const struct kept *k = c->kept;
    if (k->latest && key.n > 0) return latest_find(k->latest, key, name, now_ms);
    if (k->latest && c->kind == CHANNEL_STATE)
        return latest_newest(k->latest, name, now_ms);
    for (uint64_t i = k->head; i-- > k->history;) {
        struct frame *f = chan_at(c, i);
        if ((name.n == 0 || slice_eq(f->name, name)) &&
            (key.n == 0 || slice_eq(f->key, key)) && !frame_is_over(f, now_ms))
            return f;
    }
    return NULL;
}

uint32_t chan_events(const struct chan *c) {
    const struct latest *l = c->kept->latest;
    if (c->kind == CHANNEL_STATE) return l ? l->live - l->removals : 0;
    return (uint32_t)(c->kept->head - c->kept->history);
}
