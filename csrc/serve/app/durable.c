/* The adapter; see durable.h. Functions named store_on_x run on the store's thread. */
#include "serve/app/durable.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"
#include "serve/app/durable_inner.h"
#include "serve/app/memory.h"
#include "serve/app/registry.h"

#include <signal.h>
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

#define TICK_SECONDS 0.25 /* how often late commits are looked for */

/* ---- Called by the store -------------------------------------------------------------- */

static struct durable_op *op_of(struct store_op *op) {
    return container_of(op, struct durable_op, op);
}

static int store_on_open(void *owner, uint32_t n, uint64_t *first) {
    struct durable *d = owner;
    return seq_group_open(&d->hub->seq, n, first);
}

/* What it was encoded for may have changed before its turn came. 'before' is the frame before
 * it in the group, which mostly is of the same channel; NULL. */
static void number(struct durable *d, struct frame *f, const struct frame *before,
                   uint64_t seq) {
    if (before && slice_eq(before->channel, f->channel)) f->has_id = before->has_id;
    else {
        struct policy policy = policy_of(d->policies, f->channel);
        f->has_id = policy_kind(&policy) != CHANNEL_STATE;
    }
    frame_number(f, d->hub->seq.epoch, seq);
}

static void store_on_release(void *owner, struct store_op **ops, uint32_t n,
                             uint32_t n_numbers) {
    struct durable *d = owner;
    struct frame *frames[STORE_GROUP_MAX];
    uint32_t k = 0;
    if (ops[0]->kind == STORE_CONVERT) { /* a group of its own */
        durable_release_change(d, op_of(ops[0])->change);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (ops[i]->kind != STORE_EVENT || ops[i]->answer != STORE_STORED) continue;
        frames[k] = op_of(ops[i])->frame;
        number(d, frames[k], k > 0 ? frames[k - 1] : NULL, ops[i]->seq);
        k++;
    }
    if (n_numbers > 0) seq_group_release(&d->hub->seq, frames, k);
}

static void store_on_abort(void *owner) {
    struct durable *d = owner;
    seq_group_abort(&d->hub->seq);
}

static void store_on_done(void *owner, struct store_op **ops, uint32_t n) {
    struct durable *d = owner;
    struct messages all;
    messages_init(&all);
    for (uint32_t i = 0; i < n; i++)
        messages_add(&all, &op_of(ops[i])->message, app_on_stored);
    mailbox_post_all(&d->hub->app->mailbox, &all);
}

/* Runs in store_tick, on the app's thread, under the store's lock. */
static void on_late(void *owner, struct store_op *op) {
    struct durable *d = owner;
    list_add(&d->late, &op_of(op)->late);
}

static void store_on_policy(void *owner, struct slice channel, struct store_policy *out,
                            uint64_t *floor) {
    struct durable *d = owner;
    struct policy policy = policy_of(d->policies, channel);
    durable_policy(&policy, out);
    *floor = durable_floor(d, policy.pattern);
}

/* Pages bring the floor with them: no replica has to know it before. */
static void store_on_floor(void *owner, struct slice channel, uint64_t floor) {
    (void)owner, (void)channel, (void)floor;
}

static const struct store_calls calls = {.open = store_on_open,
                                         .release = store_on_release,
                                         .abort = store_on_abort,
                                         .done = store_on_done,
                                         .late = on_late,
                                         .policy = store_on_policy,
                                         .floor = store_on_floor};

/* ---- Life ----------------------------------------------------------------------------- */

static void answer_late(struct server *s);

static int64_t limits_due(const struct durable *d) {
    return d->stale && !d->converting ? d->limits_us : INT64_MAX;
}

static void tick(struct server *s) {
    struct durable *d = s->durable;
    struct store_stats stats;
    store_tick(d->store, atomic_load_explicit(&s->hub.seq.head, memory_order_relaxed));
    answer_late(s);
    if (limits_due(d) <= clock_us()) durable_limits(s);
    store_stats(d->store, &stats);
    atomic_store_explicit(&s->hub.trouble, stats.trouble != NULL, memory_order_relaxed);
}

static void on_tick(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)ev, (void)events;
    tick(timer->data);
}

/* Go on with the epoch and the numbers of a server that runs. */
static void adopt(struct server *s, struct store_start *start) {
    snprintf(start->epoch, sizeof start->epoch, "%s", s->hub.seq.epoch);
    start->first = atomic_load_explicit(&s->hub.seq.head, memory_order_relaxed);
}

/* The I/O threads hear of it with the first conversion. */
static int run_late(struct server *s, const char **why) {
    for (unsigned i = 0; i < s->hub.n_lanes; i++)
        durable_history(s->durable, s->hub.lanes[i]);
    int err = durable_run(s);
    if (err == 0) return 0;
    *why = status_text(err);
    durable_close(s);
    durable_free(s);
    return err;
}

int durable_open(struct server *s, const struct durable_place *place,
                 struct store_start *start, const char **why) {
    ASSERT_OWNER(&s->loop);
    assert(!s->durable);
    struct durable *d = mem_new(sizeof *d);
    bool runs = s->hub.started;
    *start = (struct store_start){0};
    if (runs) adopt(s, start);
    d->hub = &s->hub;
    d->has_threads = !s->hub.options.rehearsal;
    list_init(&d->late);
    struct store_options o = {.folder = place->folder,
                              .disk = place->disk,
                              .threads = d->has_threads,
                              .weak = place->weak,
                              .reserves = place->disk == NULL,
                              .urgent = d->has_threads ? &s->hub.commits : NULL,
                              .calls = &calls,
                              .owner = d};
    if (s->fan.chans.policies.set)
        d->policies = policy_set_ref(s->fan.chans.policies.set);
    int err = store_open(&d->store, &o, why);
    if (err == 0) err = durable_begin(d, s->fan.chans.policies.set, start, why);
    if (err < 0) {
        if (d->store) store_close(d->store, 0);
        durable_forget(d);
        return err;
    }
    map_init(&d->floors, durable_floor_key);
    s->durable = d;
    ev_timer_init(&d->tick, on_tick, TICK_SECONDS, TICK_SECONDS);
    d->tick.data = s;
    if (runs) return run_late(s, why);
    seq_adopt(&s->hub.seq, start->epoch, start->first);
    durable_load(s, d, start);
    return 0;
}

int durable_run(struct server *s) {
    ASSERT_OWNER(&s->loop);
    struct durable *d = s->durable;
    if (!d || d->is_running) return 0;
    sigset_t all, before; /* a signal is for the thread that waits for it */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = store_run(d->store);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    d->is_running = err == 0;
    if (err == 0 && d->has_threads) ev_timer_start(s->loop.ev, &d->tick);
    return err;
}

void durable_close(struct server *s) {
    struct durable *d = s->durable;
    if (!d || !d->store) return;
    ev_timer_stop(s->loop.ev, &d->tick);
    int err = store_close(d->store, STORE_LATE_MS);
    if (err < 0) {
        log_printf(LOG_ERROR,
                   "store: the disk does not answer: the process ends without it");
        log_flush();
        if (d->has_threads) _exit(EX_IOERR);
        store_drop(d->store);
    }
    d->store = NULL;
}

void durable_kill(struct server *s) {
    struct durable *d = s->durable;
    if (!d || !d->store) return;
    assert(!d->has_threads);
    store_drop(d->store);
    d->store = NULL;
}

void durable_free(struct server *s) {
    if (!s->durable) return;
    durable_forget(s->durable);
    s->durable = NULL;
}

/* ---- What is there -------------------------------------------------------------------- */

static bool is_at_rest(const struct server *s) {
    return s->durable && s->durable->store && !s->durable->is_running;
}

int durable_each_pair(struct server *s, int (*fn)(void *, const struct store_pair *),
                      void *arg, uint32_t *damaged) {
    if (!is_at_rest(s)) return E_STORE;
    return store_each_pair(s->durable->store, fn, arg, damaged);
}

int durable_each_task(struct server *s, int (*fn)(void *, const struct store_task *),
                      void *arg, uint32_t *damaged) {
    if (!is_at_rest(s)) return E_STORE;
    return store_each_task(s->durable->store, fn, arg, damaged);
}

bool durable_stats(struct server *s, struct store_stats *out) {
    if (!s->durable || !s->durable->store) return false;
    store_stats(s->durable->store, out);
    return true;
}

/* ---- Without threads ------------------------------------------------------------------ */

bool durable_step(struct server *s) {
    struct durable *d = s->durable;
    if (!d || !d->store) return false;
    tick(s);
    return store_step(d->store);
}

int64_t durable_next(const struct server *s) {
    const struct durable *d = s->durable;
    int64_t us = INT64_MAX;
    if (d && d->store) {
        us = store_next(d->store);
        if (limits_due(d) < us) us = limits_due(d);
    }
    return us == INT64_MAX ? us : (us + 999) / 1000;
}

void durable_pace(struct server *s, int64_t commit_us, bool early) {
    struct durable *d = s->durable;
    if (d && d->store && !d->has_threads) store_pace(d->store, commit_us, early, false);
}

void durable_hold(struct server *s, bool on) {
    struct durable *d = s->durable;
    if (d && d->store && !d->has_threads) store_hold(d->store, on);
}

/* ---- Operations ----------------------------------------------------------------------- */

bool durable_has(const struct server *s, struct slice channel) {
    const struct policy_set *other = s->durable ? s->durable->other : NULL;
    return policy_of(s->fan.chans.policies.set, channel).durable ||
           (other && policy_of(other, channel).durable);
}

struct durable_op *durable_new_op(enum store_op_kind kind, size_t bytes) {
    struct durable_op *d = mem_try(sizeof *d + bytes);
    if (!d) return NULL;
    memset(d, 0, sizeof *d);
    list_init(&d->late);
    d->op.kind = kind;
    return d;
}

void durable_free_op(struct durable_op *op) {
    if (op->frame) frame_unref(op->frame);
    durable_free_change(op->change);
    list_remove(&op->late);
    mem_free(op);
}

static struct slice put(char **at, struct slice from) {
    struct slice to = slice_of(*at, from.n);
    if (from.n > 0) memcpy(*at, from.p, from.n);
    *at += from.n;
    return to;
}

int durable_submit(struct server *s, struct durable_op *op, uint64_t *ticket) {
    struct durable *d = s->durable;
    op->number = ++d->submitted;
    op->ticket = *ticket = tickets_take(&d->tickets);
    int err = d->is_running ? store_submit(d->store, &op->op) : E_STORE;
    if (err == 0) {
        atomic_fetch_add_explicit(&s->hub.commits, 1, memory_order_relaxed);
    } else {
        d->submitted--;
        tickets_give_back(&d->tickets, op->ticket);
        durable_free_op(op);
    }
    return err;
}

static bool is_open(const struct server *s) {
    return s->durable && s->durable->store;
}

static int64_t wall_ms(void) {
    return (int64_t)(clock_wall() * 1000);
}

/* What the op's slices point to is the frame's, but for the data, which the frame has in
 * pieces. */
static struct durable_op *new_event(const struct commit *c, struct frame *f) {
    struct slice data = c->event.data, idempotency = c->idempotency;
    struct durable_op *op = durable_new_op(STORE_EVENT, data.n + idempotency.n);
    if (!op) return NULL;
    char *at = op->bytes;
    int64_t now_ms = wall_ms();
    op->frame = f;
    op->op.queued_us = f->at_us;
    op->op.event = (struct store_event){.channel = f->channel,
                                        .name = f->name,
                                        .key = f->key,
                                        .data = put(&at, data),
                                        .idempotency = put(&at, idempotency),
                                        .remove = c->event.remove,
                                        .update = c->update,
                                        .at_ms = now_ms};
    if (c->event.ttl_ms > 0) op->op.event.expires_ms = now_ms + c->event.ttl_ms;
    return op;
}

int durable_commit(struct server *s, const struct commit *c, uint64_t *ticket) {
    ASSERT_OWNER(&s->loop);
    if (!is_open(s)) return E_STORE;
    struct chan *chan;
    struct frame *f;
    int err = server_encode(s, &c->event, s->hub.n_lanes + 1, &chan, &f);
    if (err < 0) return err;
    uint64_t encoded = f->before;
    f->patient = f->patient || registry_count(s, f->channel, f->channel_hash) == 0;
    struct durable_op *op = new_event(c, f);
    if (op) err = durable_submit(s, op, ticket);
    else {
        frame_unref(f);
        err = E_NOMEM;
    }
    if (err < 0) {
        chan_keep(chan)->encoded = encoded;
        chans_release(&s->fan.chans, chan);
    } else if (!chan->policy->durable) s->durable->drained = s->durable->submitted;
    return err;
}

int durable_pair(struct server *s, const struct store_pair *p, bool remove,
                 uint64_t *ticket) {
    ASSERT_OWNER(&s->loop);
    if (!is_open(s)) return E_STORE;
    struct durable_op *op = durable_new_op(remove ? STORE_DELETE : STORE_SET,
                                           p->store.n + p->key.n + p->value.n);
    if (!op) return E_NOMEM;
    char *at = op->bytes;
    op->op.pair = (struct store_pair){.store = put(&at, p->store),
                                      .key = put(&at, p->key),
                                      .value = put(&at, p->value)};
    return durable_submit(s, op, ticket);
}

int durable_task(struct server *s, const struct store_task *t, bool remove,
                 uint64_t *ticket) {
    ASSERT_OWNER(&s->loop);
    if (!is_open(s)) return E_STORE;
    struct durable_op *op = durable_new_op(remove ? STORE_TASK_DELETE : STORE_TASK_PUT,
                                           t->id.n + t->name.n + t->data.n);
    if (!op) return E_NOMEM;
    char *at = op->bytes;
    op->op.task = (struct store_task){.id = put(&at, t->id),
                                      .name = put(&at, t->name),
                                      .data = put(&at, t->data),
                                      .due_ms = t->due_ms};
    return durable_submit(s, op, ticket);
}

/* ---- Answers -------------------------------------------------------------------------- */

static int err_of(enum store_answer answer) {
    switch (answer) {
    case STORE_STORED:
    case STORE_DUPLICATE: return 0;
    case STORE_NO_KEY: return E_NOTFOUND;
    case STORE_UNKNOWN: return E_TIMEOUT;
    default: return E_STORE;
    }
}

static void answer(struct server *s, struct durable_op *op, int err, bool is_final) {
    const struct frame *f = op->frame;
    struct answer a = {.ticket = op->ticket,
                       .is_final = is_final,
                       .err = err,
                       .is_event = f != NULL,
                       .is_duplicate = op->op.answer == STORE_DUPLICATE,
                       .seq = op->op.seq};
    if (f) {
        struct chan *c = chans_find_of(&s->fan.chans, f);
        a.has_id = !c || c->kind != CHANNEL_STATE;
        server_catch_up(s);
        a.subscribers = registry_count(s, f->channel, f->channel_hash);
        if (err < 0 && c && is_final) chans_release(&s->fan.chans, c);
    }
    if (s->events->on_answer) s->events->on_answer(s->context, &a);
}

static void answer_late(struct server *s) {
    struct list *late = &s->durable->late;
    while (!list_empty(late)) {
        struct durable_op *op = container_of(late->next, struct durable_op, late);
        list_remove(&op->late);
        if (!op->change || op->change->is_awaited) answer(s, op, E_TIMEOUT, false);
    }
}

/* Its channel became a memory channel before its turn came. */
static int publish_in_memory(struct server *s, struct durable_op *op) {
    struct frame *f = op->frame;
    int err = 0;
    do {
        struct policy policy = policy_of(s->fan.chans.policies.set, f->channel);
        f->has_id = policy_kind(&policy) != CHANNEL_STATE;
        err = server_post(s, chans_find_of(&s->fan.chans, f), f);
    } while (err > 0);
    if (err == 0) op->op.seq = f->seq;
    return err;
}

/* What the store would have judged: an idempotency key, an update. Then its ticket has an
 * answer. */
static bool is_refused(struct server *s, const struct durable_op *op) {
    const struct store_event *e = &op->op.event;
    if (!e->update && e->idempotency.n == 0) return false;
    if (!s->events->on_moved || !s->events->on_moved(s->context, op->ticket))
        return false;
    struct chan *c = chans_find_of(&s->fan.chans, op->frame);
    if (c) chans_release(&s->fan.chans, c);
    return true;
}

void app_on_stored(void *owner, struct message *m) {
    struct server *s = owner;
    struct durable_op *op = container_of(m, struct durable_op, message);
    server_take_in(s, seq_take_own(&s->hub.seq));
    int err = err_of(op->op.answer);
    bool moves = op->op.answer == STORE_NOT_DURABLE;
    bool has_answer = moves && is_refused(s, op);
    if (moves && !has_answer) err = publish_in_memory(s, op);
    if (op->change) durable_end_change(s, op, err);
    if (!has_answer) answer(s, op, err, true);
    tickets_give_back(&s->durable->tickets, op->ticket);
    atomic_fetch_sub_explicit(&s->hub.commits, 1, memory_order_relaxed);
    durable_note_done(s, op);
    durable_free_op(op);
}
