/* What a start does with a store: the policies of the app, and for each replica the floors
 * and the newest values of durable channels. The app's replica gets them from the store, the
 * others from the app's. [the app's thread, before others run] */
#include "base/log.h"
#include "base/mem.h"
#include "base/pattern.h"
#include "base/status.h"
#include "serve/app/durable_inner.h"
#include "serve/app/memory.h"

/* ---- Policies ------------------------------------------------------------------------- */

void durable_policy(const struct policy *p, struct store_policy *out) {
    static const enum store_kind kinds[] = {[CHANNEL_LOG] = STORE_LOG,
                                            [CHANNEL_STATE] = STORE_STATE,
                                            [CHANNEL_KEYED] = STORE_KEYED};
    *out = (struct store_policy){.kind = kinds[policy_kind(p)],
                                 .durable = p->durable,
                                 .events_max = p->history,
                                 .bytes_max = p->history_bytes,
                                 .age_ms = p->ttl_ms,
                                 .keys_max = p->max_keys};
}

void durable_judge(void *arg, struct slice name, struct store_policy *out) {
    struct policy policy = policy_of(arg, name);
    durable_policy(&policy, out);
}

int durable_begin(struct durable *d, const struct policy_set *set,
                  struct store_start *start, const char **why) {
    uint32_t n = policy_set_count(set);
    struct store_change *changes = mem_new((n + 1) * sizeof *changes);
    for (uint32_t i = 0; i < n; i++)
        changes[i] = (struct store_change){.name = policy_set_pattern(set, i)};
    struct store_conversion now = {
        .judge = durable_judge, .arg = (void *)set, .changes = changes, .n_changes = n};
    int err = store_begin(d->store, start, &now, why);
    mem_free(changes);
    return err;
}

/* ---- Floors of patterns --------------------------------------------------------------- */

struct pattern_floor {
    struct map_node node;
    uint64_t floor;
    size_t name_n;
    char name[];
};

struct slice durable_floor_key(const struct map_node *node) {
    const struct pattern_floor *p = container_of(node, const struct pattern_floor, node);
    return slice_of(p->name, p->name_n);
}

void durable_keep_floor(struct durable *d, struct slice pattern, uint64_t floor) {
    struct map_node *node = map_get(&d->floors, pattern);
    if (node) {
        container_of(node, struct pattern_floor, node)->floor = floor;
        return;
    }
    struct pattern_floor *p = mem_new(sizeof *p + pattern.n);
    memcpy(p->name, pattern.p, pattern.n);
    p->name_n = pattern.n;
    p->floor = floor;
    map_add(&d->floors, &p->node);
}

uint64_t durable_floor(const struct durable *d, struct slice pattern) {
    struct map_node *node = map_get(&d->floors, pattern);
    return node ? container_of(node, struct pattern_floor, node)->floor : 0;
}

void durable_forget(struct durable *d) {
    for (struct map_node *node; (node = map_next(&d->floors, NULL));) {
        map_remove(&d->floors, node);
        mem_free(container_of(node, struct pattern_floor, node));
    }
    map_deinit(&d->floors);
    policy_set_unref(d->policies);
    policy_set_unref(d->other);
    tickets_deinit(&d->tickets);
    mem_free(d);
}

/* ---- The app's replica ---------------------------------------------------------------- */

struct loading {
    struct server *s;
    struct durable *d;
    int64_t boot_ms; /* wall clock minus monotonic */
    uint32_t lost;   /* values that found no place */
    /* of one log: its newest events, the newest first */
    struct frame *recent[HELD_EVENTS_MAX];
    uint32_t n;
    size_t bytes;
    struct slice channel;
    uint64_t before; /* the number before the oldest of them */
};

/* What memory holds counts as complete: it ends where the chain of numbers has a hole, and
 * who needs more is told so by the page that looks for it. */
static int load_recent(void *arg, const struct store_row *r, uint64_t before) {
    struct loading *l = arg;
    struct frame_row row = durable_row(l->channel, r, l->boot_ms);
    struct frame *f;
    l->bytes += r->data.n;
    if (r->seq != l->before) return 1;
    if (l->n == HELD_EVENTS_MAX || l->bytes > HELD_BYTES_MAX ||
        frame_restore(&f, &row, true, l->s->hub.seq.epoch) < 0)
        return 1;
    l->recent[l->n++] = f;
    l->before = before;
    return 0;
}

/* What a newcomer's rewind and app:history find in memory; the rest comes in pages. */
static int load_log(struct loading *l, const struct store_channel *c, uint32_t history) {
    uint32_t most = history < HELD_EVENTS_MAX ? history : HELD_EVENTS_MAX;
    l->n = 0;
    l->bytes = 0;
    l->before = c->last;
    l->channel = c->name;
    store_each_recent(l->d->store, c->name, most, load_recent, l);
    int err = fan_restore_channel(&l->s->fan, c->name, c->floor, l->before);
    struct chan *chan = err == 0 ? chans_find(&l->s->fan.chans, c->name) : NULL;
    for (; l->n > 0; l->n--) {
        struct frame *f = l->recent[l->n - 1];
        if (chan) {
            f->before = chan->kept->encoded;
            chan_keep(chan)->encoded += frame_lines(f).n;
            fan_restore_event(&l->s->fan, f);
        }
        frame_unref(f);
    }
    return err;
}

static int load_channel(void *arg, const struct store_channel *c) {
    struct loading *l = arg;
    bool is_pattern = pattern_check_channel(c->name) != NULL;
    if (!c->durable) return 0;
    if (is_pattern) {
        fan_restore_pattern(&l->s->fan, c->name, c->floor);
        durable_keep_floor(l->d, c->name, c->floor);
        return 0;
    }
    struct policy policy = policy_of(l->s->fan.chans.policies.set, c->name);
    int err = c->kind == STORE_STATE
                  ? fan_restore_channel(&l->s->fan, c->name, c->floor, c->last)
                  : load_log(l, c, policy.history);
    if (err < 0) l->lost++;
    return 0;
}

static int load_newest(void *arg, struct slice channel, const struct store_row *r) {
    struct loading *l = arg;
    struct chan *c = chans_find(&l->s->fan.chans, channel);
    struct frame_row row = durable_row(channel, r, l->boot_ms);
    struct frame *f = NULL;
    int err = c && c->kind != CHANNEL_LOG ? 0 : E_NOTFOUND;
    if (err == 0)
        err = frame_restore(&f, &row, c->kind != CHANNEL_STATE, l->s->hub.seq.epoch);
    if (err == 0) fan_restore_newest(&l->s->fan, f);
    if (err == 0 && f->seq > c->kept->last)
        chan_keep(c)->last = f->seq; /* a state has no other rows */
    if (f) frame_unref(f);
    if (err < 0) l->lost++;
    return 0;
}

void durable_load(struct server *s, struct durable *d, const struct store_start *start) {
    struct loading *l = mem_new(sizeof *l);
    uint32_t damaged = 0;
    l->s = s;
    l->d = d;
    l->boot_ms = durable_boot_ms();
    fan_restore_start(&s->fan, start->epoch, start->first);
    store_each_channel(d->store, load_channel, l);
    int err = store_each_newest(d->store, slice_of(NULL, 0), load_newest, l, &damaged);
    memory_recount(s);
    if (err < 0 || damaged > 0 || l->lost > 0)
        log_printf(LOG_ERROR, "store: %u newest values are damaged, %u found no place%s",
                   (unsigned)damaged, (unsigned)l->lost,
                   err < 0 ? ", and not all could be read" : "");
    mem_free(l);
}

/* ---- The other replicas --------------------------------------------------------------- */

static void copy_newest(struct fan *fan, const struct latest *from) {
    for (uint32_t i = latest_after(from, 0); i < from->n; i = latest_next(from, i))
        fan_restore_newest(fan, latest_at(from, i));
}

void durable_restore(struct server *s, struct fan *fan, struct lane *lane) {
    const struct chans *from = &s->fan.chans;
    if (!s->durable) return;
    fan->history = durable_history(s->durable, lane);
    fan_policies(fan, from->policies.set);
    fan_restore_start(fan, s->hub.seq.epoch, from->first);
    for (uint32_t i = 0; i < from->n_floors; i++)
        fan_restore_pattern(fan, slice_str(from->floors[i].pattern),
                            from->floors[i].floor);
    for (struct chan *c = NULL; (c = chans_next(from, c));) {
        if (!c->known) continue;
        const struct kept *k = c->kept;
        fan_restore_channel(fan, chan_name(c), k->floor,
                            k->head > k->tail ? k->gone : k->last);
        for (uint64_t i = k->tail; i < k->head; i++)
            fan_restore_event(fan, chan_at(c, i));
        if (k->latest) copy_newest(fan, k->latest);
    }
}
