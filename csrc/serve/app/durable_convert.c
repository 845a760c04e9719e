/* What is durable changes while the server runs; see durable.h.
 *
 *   app thread     convert ──▶ submit … publishes go by both policies …  end ──▶ answer
 *                                 │                                       ▲
 *   store thread            all groups before it, then its own COMMIT ──▶ release
 *                                                                         │
 *   every replica                                                   fan_convert
 *
 * What the store has to know of memory channels is copied when it is queued: from then on
 * events of channels that become durable queue behind it, so that it stays true. Events of a
 * channel that is durable no more come back from the store and are published in memory, in
 * their order: those that follow take the same way until the last one has come back. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pattern.h"
#include "base/status.h"
#include "serve/app/command.h"
#include "serve/app/durable_inner.h"
#include "serve/app/memory.h"
#include "serve/to_io.h"

/* ---- Whether ------------------------------------------------------------------------- */

static bool is_other(const struct policy *a, const struct policy *b) {
    return (a->durable || b->durable) &&
           (a->durable != b->durable || policy_kind(a) != policy_kind(b));
}

static bool any_pattern_differs(const struct policy_set *of, const struct policy_set *old,
                                const struct policy_set *new) {
    for (uint32_t i = 0; i < policy_set_count(of); i++) {
        struct slice pattern = policy_set_pattern(of, i);
        struct policy a = policy_of(old, pattern), b = policy_of(new, pattern);
        if (is_other(&a, &b)) return true;
        if (of == new &&b.durable && !policy_set_has(old, pattern)) return true;
    }
    return false;
}

bool durable_converts(const struct server *s, const struct policy_set *policies) {
    const struct policy_set *old = s->fan.chans.policies.set;
    if (!s->durable || !s->durable->is_running) return false;
    if (s->durable->converting) return true;
    if (policy_same_kept(old, policies)) return false;
    if (any_pattern_differs(policies, old, policies)) return true;
    if (any_pattern_differs(old, old, policies)) return true;
    for (struct chan *c = NULL; (c = chans_next(&s->fan.chans, c));) {
        struct policy to = policy_of(policies, chan_name(c));
        if (is_other(c->policy, &to)) return true;
    }
    return false;
}

/* ---- What the store has to know ------------------------------------------------------- */

static enum store_kind kind_of(const struct policy *p) {
    struct store_policy out;
    durable_policy(p, &out);
    return out.kind;
}

/* A place in the text, until all of it is there. */
static int add_text(struct change *c, struct slice *s, struct slice text) {
    *s = slice_of((const char *)c->text.n, text.n); /* NOLINT */
    return buf_add(&c->text, text.p, text.n);
}

static int add_live(struct change *c, struct frame *f, int64_t boot_ms) {
    struct store_live *l = &c->lives[c->n_lives];
    size_t at = c->text.n;
    int err = frame_payload(f, &c->text);
    if (err < 0) return err;
    *l = (struct store_live){.seq = f->seq,
                             .name = f->name,
                             .key = f->key,
                             .data =
                                 slice_of((const char *)at, c->text.n - at), /* NOLINT */
                             .at_ms = f->at_ms + boot_ms};
    if (f->expires_ms) l->expires_ms = f->expires_ms + boot_ms;
    c->held[c->n_lives++] = frame_ref(f);
    return 0;
}

/* A channel in memory that becomes durable. What a state had is no event of a log. */
static bool becomes_durable(const struct chan *chan, const struct policy_set *set,
                            struct policy *to) {
    if (!chan->known || chan->policy->durable) return false;
    *to = policy_of(set, chan_name(chan));
    return to->durable;
}

static bool brings_lives(const struct chan *chan, const struct policy *to) {
    return chan->kept->latest && policy_kind(to) == chan->kind;
}

static int add_channel(struct change *c, struct server *s, const struct chan *chan,
                       int64_t boot_ms) {
    struct policy to;
    if (!becomes_durable(chan, c->policies, &to)) return 0;
    bool was_state = chan->kind == CHANNEL_STATE;
    struct store_change *change = &c->changes[c->n_changes++];
    *change = (struct store_change){.was = kind_of(chan->policy),
                                    .newest = was_state ? chans_floor(&s->fan.chans, chan)
                                                        : chan->kept->last,
                                    .lives = c->lives + c->n_lives};
    int err = add_text(c, &change->name, chan_name(chan));
    if (!brings_lives(chan, &to)) return err;
    const struct latest *l = chan->kept->latest;
    for (uint32_t i = latest_after(l, 0); err == 0 && i < l->n; i = latest_next(l, i)) {
        if (latest_at(l, i)->remove) continue;
        err = add_live(c, latest_at(l, i), boot_ms);
        change->n_lives += err == 0;
    }
    return err;
}

/* The patterns, but for those that are channels with events of their own. */
static int add_patterns(struct change *c, struct server *s) {
    int err = 0;
    for (uint32_t i = 0; err == 0 && i < policy_set_count(c->policies); i++) {
        struct slice pattern = policy_set_pattern(c->policies, i);
        const struct chan *chan = chans_find(&s->fan.chans, pattern);
        if (!policy_of(c->policies, pattern).durable || (chan && chan->known)) continue;
        struct policy was = policy_of(c->before, pattern);
        struct store_change *change = &c->changes[c->n_changes++];
        *change = (struct store_change){
            .was = kind_of(&was),
            .newest = chans_floor_with(&s->fan.chans, c->policies, pattern)};
        err = add_text(c, &change->name, pattern);
    }
    return err;
}

static void resolve(struct change *c) {
    for (uint32_t i = 0; i < c->n_changes; i++)
        c->changes[i].name.p = c->text.p + (size_t)c->changes[i].name.p;
    for (uint32_t i = 0; i < c->n_lives; i++)
        c->lives[i].data.p = c->text.p + (size_t)c->lives[i].data.p;
}

static int make_room(struct change *c, const struct server *s) {
    size_t changes = policy_set_count(c->policies), lives = 0;
    for (struct chan *chan = NULL; (chan = chans_next(&s->fan.chans, chan));) {
        struct policy to;
        if (!becomes_durable(chan, c->policies, &to)) continue;
        changes++;
        if (brings_lives(chan, &to)) lives += chan->kept->latest->live;
    }
    c->changes = mem_try((changes + 1) * sizeof *c->changes);
    c->lives = mem_try((lives + 1) * sizeof *c->lives);
    c->held = mem_try((lives + 1) * sizeof(struct frame *));
    return c->changes && c->lives && c->held ? 0 : E_NOMEM;
}

static int note_changes(struct change *c, struct server *s) {
    int64_t boot_ms = durable_boot_ms();
    int err = make_room(c, s);
    if (err == 0) err = add_patterns(c, s);
    for (struct chan *chan = NULL; err == 0 && (chan = chans_next(&s->fan.chans, chan));)
        err = add_channel(c, s, chan, boot_ms);
    if (err == 0) resolve(c);
    return err;
}

void durable_free_change(struct change *c) {
    if (!c) return;
    for (uint32_t i = 0; i < c->n_lives; i++) frame_unref(c->held[i]);
    mem_free(c->changes);
    mem_free(c->lives);
    mem_free(c->held);
    buf_free(&c->text);
    routes_unref(c->routes);
    policy_set_unref(c->policies);
    policy_set_unref(c->before);
    mem_free(c);
}

/* ---- Queueing it ---------------------------------------------------------------------- */

static struct durable_op *new_change(const struct server *s,
                                     struct policy_set *policies) {
    struct durable_op *op = durable_new_op(STORE_CONVERT, 0);
    if (!op) return NULL;
    struct change *c = op->change = mem_new(sizeof *c);
    c->policies = policy_set_ref(policies);
    if (s->fan.chans.policies.set) c->before = policy_set_ref(s->fan.chans.policies.set);
    return op;
}

static int submit(struct server *s, struct durable_op *op, uint64_t *ticket) {
    struct change *c = op->change;
    op->op.conversion = (struct store_conversion){
        .judge = durable_judge,
        .arg = c->policies,
        .changes = c->changes,
        .n_changes = c->n_changes,
        .newest = chans_floor_with(&s->fan.chans, c->policies, slice_of("", 0))};
    return durable_submit(s, op, ticket);
}

bool durable_is_busy(const struct server *s) {
    return s->durable && s->durable->other;
}

static void report(struct server *s) {
    if (s->events->on_policies) s->events->on_policies(s->context, durable_is_busy(s));
}

int durable_convert(struct server *s, const struct configuration *wanted,
                    uint64_t *ticket) {
    ASSERT_OWNER(&s->loop);
    struct durable *d = s->durable;
    if (d->other) return E_BUSY;
    struct durable_op *op = new_change(s, wanted->policies);
    if (!op) return E_NOMEM;
    struct change *c = op->change;
    c->is_awaited = true;
    c->routes = routes_ref(wanted->routes);
    c->news = wanted->news;
    server_take_in(s, seq_take_own(&s->hub.seq));
    int err = note_changes(c, s);
    if (err < 0) {
        durable_free_op(op);
        return err;
    }
    d->other = policy_set_ref(wanted->policies);
    d->converting = true;
    err = submit(s, op, ticket);
    if (err < 0) {
        policy_set_unref(d->other);
        d->other = NULL;
        d->converting = false;
    }
    return err;
}

/* A store that has just refused them is left alone for a while. */
static void be_stale(struct durable *d, bool stale) {
    d->stale = stale;
    if (stale) d->limits_us = clock_us() + DURABLE_LIMITS_MS * 1000;
}

void durable_limits(struct server *s) {
    struct durable *d = s->durable;
    if (!d || !d->is_running) return;
    uint64_t ticket;
    struct durable_op *op = new_change(s, s->fan.chans.policies.set);
    be_stale(d, !op || submit(s, op, &ticket) < 0);
}

/* ---- Its release ---------------------------------------------------------------------- */

/* What the store has of a channel or pattern that the replicas do not know. */
struct collecting {
    struct durable *d;
    struct conversion *into;
    const struct policy_set *before;
    int64_t boot_ms;
    uint32_t lost;
};

static int add_newest(void *arg, struct slice channel, const struct store_row *r) {
    struct collecting *k = arg;
    struct frame_row row = durable_row(channel, r, k->boot_ms);
    struct frame *f;
    int err = frame_restore(&f, &row, true, k->d->hub->seq.epoch);
    if (err == 0) err = conversion_add_newest(k->into, f);
    if (err < 0) k->lost++;
    return 0;
}

/* A log that is keyed now: its newest values were found in the rows. */
static void add_keyed(struct collecting *k, const struct store_channel *c) {
    struct policy was = policy_of(k->before, c->name);
    if (c->kind != STORE_KEYED || !was.durable || kind_of(&was) != STORE_LOG) return;
    conversion_add_keyed(k->into, c->name);
    store_each_newest(k->d->store, c->name, add_newest, k, &k->lost);
}

static int collect(void *arg, const struct store_channel *c) {
    struct collecting *k = arg;
    if (!c->durable) return 0;
    if (policy_set_has(k->into->brings.policies, c->name)) {
        conversion_add_floor(k->into, c->name, c->floor);
        durable_keep_floor(k->d, c->name, c->floor);
    }
    add_keyed(k, c);
    return 0;
}

static struct conversion *conversion_of(struct durable *d, const struct change *c) {
    struct collecting k = {.d = d,
                           .into = conversion_new(c->policies),
                           .before = c->before,
                           .boot_ms = durable_boot_ms()};
    store_each_channel(d->store, collect, &k);
    if (k.lost > 0)
        log_printf(LOG_ERROR, "store: %u newest values are damaged, or found no place",
                   (unsigned)k.lost);
    return k.into;
}

/* [app] */
static void app_on_conversion(void *owner, struct message *m) {
    struct server *s = owner;
    struct io_command *command = container_of(m, struct io_command, message);
    fan_convert(&s->fan, &command->conversion->brings);
    memory_recount(s);
    conversion_unref(command->conversion);
    mem_free(command);
}

void durable_release_change(struct durable *d, struct change *c) {
    struct hub *hub = d->hub;
    policy_set_unref(d->policies);
    d->policies = policy_set_ref(c->policies);
    if (!c->is_awaited) {
        seq_group_release(&hub->seq, NULL, 0);
        return;
    }
    struct conversion *conversion = conversion_of(d, c);
    struct io_command what = {.kind = IO_CONVERT, .conversion = conversion};
    struct message *messages[IO_THREADS_MAX];
    for (unsigned i = 0; i < hub->n_lanes; i++) {
        what.history = &d->histories[i].history;
        messages[i] = to_io_command(&what);
    }
    seq_group_command(&hub->seq, messages, io_on_command, to_io_command(&what),
                      app_on_conversion);
    conversion_unref(conversion);
}

/* ---- Its end -------------------------------------------------------------------------- */

void durable_note_done(struct server *s, const struct durable_op *op) {
    struct durable *d = s->durable;
    if (!d->other || d->converting || op->number < d->drained) return;
    policy_set_unref(d->other);
    d->other = NULL;
    report(s);
}

void durable_end_change(struct server *s, struct durable_op *op, int err) {
    struct durable *d = s->durable;
    struct change *c = op->change;
    if (!c->is_awaited) {
        if (err < 0) be_stale(d, true);
        return;
    }
    policy_set_unref(d->other);
    d->other = NULL;
    d->converting = false;
    if (err == 0) {
        if (c->before) d->other = policy_set_ref(c->before);
        d->drained = d->submitted;
        d->stale = false;
        if (d->store)
            server_install(s, &(struct configuration){.routes = c->routes,
                                                      .policies = c->policies,
                                                      .news = c->news});
    }
    report(s);
}
