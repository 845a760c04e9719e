/* The thread, events and publishes; see cluster.h. Functions named node_on_x are called by the node, and may
 * not call it. */
#include "serve/cluster.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"
#include "serve/cluster_inner.h"
#include "serve/to_app.h"
#include "serve/to_io.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#define TICK_SECONDS 1.0
#define START_WAIT_MS 2500    /* for Redis, before clients are let in */
#define TTL_ENDLESS 315360000 /* seconds: ten years */

/* ---- What Redis keeps ------------------------------------------------------------------ */

uint32_t cluster_ttl_s(const struct policy *p) {
    int64_t ttl_s = p->ttl_ms > 0 ? (p->ttl_ms + 999) / 1000 : TTL_ENDLESS;
    return (uint32_t)(ttl_s < TTL_ENDLESS ? ttl_s : TTL_ENDLESS);
}

static struct node_policy node_policy_of(const struct policy *p) {
    static const char letters[] = {
        [CHANNEL_LOG] = 'l', [CHANNEL_STATE] = 's', [CHANNEL_KEYED] = 'k'};
    return (struct node_policy){letters[policy_kind(p)], p->history, cluster_ttl_s(p),
                                policy_is_paged(p)};
}

static struct node_policy node_on_policy(void *owner, struct slice channel) {
    struct policy p = cluster_policy(owner, channel);
    return node_policy_of(&p);
}

/* With other ttls something may be missing for longer than the new ones say. */
static const char *node_on_rules(void *owner) {
    struct cluster *c = owner;
    pthread_mutex_lock(&c->order);
    uint64_t digest = 1;
    for (uint32_t i = 0; c->ruled != c->version && i < policy_set_count(c->policies);
         i++) {
        struct slice pattern = policy_set_pattern(c->policies, i);
        struct policy p = policy_of(c->policies, pattern);
        digest = map_mark(map_mark(digest, pattern),
                          slice_of((const char *)&p.ttl_ms, sizeof p.ttl_ms));
    }
    if (c->ruled != c->version)
        snprintf(c->rules, sizeof c->rules, "%llx", (unsigned long long)digest);
    c->ruled = c->version;
    pthread_mutex_unlock(&c->order);
    return c->rules;
}

/* ---- Events ---------------------------------------------------------------------------- */

static struct news_clock clock_now(const struct cluster *c) {
    int64_t now_ms = clock_ms();
    return (struct news_clock){node_time_ms(c->node) - now_ms, now_ms};
}

static void take_times(const struct cluster *c, struct frame *f, const struct entry *e) {
    struct news_clock clock = clock_now(c);
    f->at_us = clock_us();
    f->at_ms = e->time_ms - clock.boot_ms;
    if (f->at_ms > clock.now_ms) f->at_ms = clock.now_ms;
    if (e->expires_ms == 0) return;
    f->expires_ms = e->expires_ms - clock.boot_ms;
    if (f->expires_ms <= 0) f->expires_ms = 1;
}

/* While a reload goes from node to node a channel may be of two kinds, or of one node alone here. A log and a keyed one have the
 * same history. What a log misses of a state is found out with its next event, which says what went
 * before it: then its readers are told. */
static bool fits(const struct followed *to, const struct entry *e) {
    return (e->kind == FEED_STATE) == (to->kind == CHANNEL_STATE);
}

/* 0; E_BUSY: no room; else it is passed over. */
static int release_event(struct cluster *c, struct followed *to, const struct entry *e) {
    struct event event = {.channel = e->channel,
                          .name = e->event,
                          .key = e->key,
                          .data = e->data,
                          .remove = e->remove};
    struct frame *f;
    if (to->version != c->version) cluster_look_up(c, to);
    if (to->local || !fits(to, e)) {
        c->conflicts++;
        return E_INVAL;
    }
    int err = frame_new(&f, &event, to->kind != CHANNEL_STATE, c->hub->n_lanes + 1);
    if (err < 0) return err;
    take_times(c, f, e);
    f->patient = to->patient;
    f->before = to->encoded;
    err = seq_give(&c->hub->seq, f, e->seq);
    if (err == 0) to->encoded += frame_lines(f).n;
    to->has_events = true;
    frame_unref(f);
    return err;
}

void cluster_post(struct cluster *c, struct cluster_news *n) {
    news_post(c->hub, n);
    c->released = true;
}

static bool release_mark(struct cluster *c, const struct entry *e) {
    struct cluster_news *n = news_new(NEWS_MARK, e->channel);
    n->seq = e->seq;
    n->own = slice_eq(e->slot, slice_str(node_machine(c->node)->slot));
    cluster_post(c, n);
    return true;
}

static bool node_on_release(void *owner, const struct entry *e) {
    struct cluster *c = owner;
    if (e->kind == FEED_MARK) return release_mark(c, e);
    if (e->kind == FEED_NOTICE) {
        cluster_pass_notice(c, e);
        return true;
    }
    struct followed *to = cluster_find(c, e->channel);
    if (!to) return true;
    pthread_mutex_lock(&c->order);
    int err = release_event(c, to, e);
    pthread_mutex_unlock(&c->order);
    c->released = c->released || err == 0;
    if (err == 0 && to->is_heard) cluster_pass_event(c, e);
    return err != E_BUSY;
}

static void show_fills(struct cluster *c) {
    struct cluster_news *n = c->fills;
    if (c->reloads) seq_refill_own(&c->hub->seq);
    c->reloads = false;
    atomic_fetch_add(&n->refs, 1);
    cluster_post(c, n);
    cluster_tell_filled(c, n);
    news_unref(n);
    c->fills = NULL;
}

static void node_on_fill(void *owner, struct fill *f, bool lost, bool more) {
    struct cluster *c = owner;
    const struct machine *m = node_machine(c->node);
    struct policy p = cluster_policy(c, f->channel);
    struct news_fill how = {.epoch = m->epoch,
                            .slot = m->slot,
                            .clock = clock_now(c),
                            .upto = m->pos,
                            .ttl_ms = p.ttl_ms,
                            .lost = lost,
                            .is_state = f->kind == FEED_STATE};
    if (!c->fills) c->fills = news_new(NEWS_FILLS, slice_of("", 0));
    news_add_fill(c->fills, f, &how);
    struct followed *to = cluster_find(c, f->channel);
    if (to) to->has_events = !list_empty(&f->events) || !list_empty(&f->values);
    fill_free(f);
    if (!more) show_fills(c);
}

void cluster_tell_app(struct cluster *c) {
    const struct machine *m = node_machine(c->node);
    struct standing_message *s = mem_new(sizeof *s);
    s->is_live = m->state == MACHINE_LIVE;
    s->lead = machine_leads(m);
    snprintf(s->epoch, sizeof s->epoch, "%s", m->epoch);
    mailbox_post(&c->hub->app->mailbox, &s->message, app_on_standing);
}

static void node_on_epoch(void *owner, uint64_t base) {
    struct cluster *c = owner;
    const struct machine *m = node_machine(c->node);
    struct cluster_news *n = news_new(NEWS_EPOCH, slice_of("", 0));
    snprintf(n->name, sizeof n->name, "%s", m->epoch);
    n->lineage = m->lineage;
    n->epoch = (struct fan_epoch){.epoch = n->name,
                                  .lineage = &n->lineage,
                                  .base = base,
                                  .head = m->pos,
                                  .marked = m->mark,
                                  .joined = m->joined};
    seq_know(&c->hub->seq, m->pos);
    cluster_post(c, n);
    if (base == UINT64_MAX) return;
    cluster_tell_app(c);
    cluster_pass_notice(c, NULL);
    cluster_owe_leases(c);
    const char *by = node_began_by(c->node);
    log_printf(LOG_WARN,
               "cluster: epoch %s began, as %s%s found: what Redis had above number %llu "
               "is lost, and readers are told (failover)",
               m->epoch, *by ? "node " : "another node", by, (unsigned long long)base);
}

static void node_on_reaped(void *owner) {
    log_printf(LOG_WARN,
               "cluster: this node was silent for so long that the others took it for "
               "dead; what went with it is published again");
    cluster_owe_leases(owner);
}

static void node_on_missed(void *owner) {
    log_printf(LOG_WARN,
               "cluster: the feed of Redis begins above what this node has read: its "
               "channels are loaded again (see --cluster-feed)");
    cluster_pass_notice(owner, NULL);
}

/* ---- Answers --------------------------------------------------------------------------- */

static void give_back(struct cluster *c, struct shared_publish *p, int err) {
    p->err = err;
    list_remove(&p->node);
    messages_add(&c->answers, &p->message, app_on_published);
}

/* All of a turn at once: publishers that go on together publish together. */
static void post_all(struct mailbox *to, struct messages *ms) {
    if (ms->n > 0) mailbox_post_all(to, ms);
    messages_init(ms);
}

void cluster_post_answers(struct cluster *c) {
    post_all(&c->hub->app->mailbox, &c->answers);
}

static void node_on_answer(void *owner, struct node_publish *inner, int err) {
    give_back(owner, container_of(inner, struct shared_publish, inner), err);
}

static void on_publish(void *owner, struct message *m) {
    struct cluster *c = owner;
    struct shared_publish *p = container_of(m, struct shared_publish, message);
    if (p->lives_ms > 0) p->inner.event.expires_ms = node_time_ms(c->node) + p->lives_ms;
    list_add(&c->publishes, &p->node);
    node_publish(c->node, &p->inner);
}

void cluster_publish(struct cluster *c, struct shared_publish *p) {
    ASSERT_OWNER(c->hub->app);
    messages_add(&c->asked, &p->message, on_publish);
    if (c->asked.n == CLUSTER_BATCH_MAX) cluster_flush(c);
}

void cluster_flush(struct cluster *c) {
    ASSERT_OWNER(c->hub->app);
    post_all(&c->loop.mailbox, &c->asked);
}

/* ---- What is told ----------------------------------------------------------------------- */

static void show(struct cluster *c) {
    const struct machine *m = node_machine(c->node);
    struct cluster_look *l = &c->look;
    pthread_mutex_lock(&c->lock);
    l->state = m->state;
    snprintf(l->epoch, sizeof l->epoch, "%s", m->epoch);
    snprintf(l->slot, sizeof l->slot, "%s", m->slot);
    l->pos = m->pos;
    l->known = m->known > m->pos ? m->known : m->pos;
    l->counts = m->counts;
    l->unlike = *node_unlike(c->node) != '\0';
    l->is_led = machine_is_led(m);
    snprintf(l->leader, sizeof l->leader, "%s", l->is_led ? m->lead.leader : "");
    l->is_writable = m->state == MACHINE_LIVE && !c->refusal[0];
    snprintf(l->trouble, sizeof l->trouble, "%s", cluster_trouble_now(c));
    l->conflicts = c->conflicts;
    l->figures = *node_figures(c->node);
    l->nodes = node_count(c->node);
    struct slice marks = node_marks(c->node);
    c->marks.n = 0;
    if (buf_add(&c->marks, marks.p, marks.n) < 0) c->marks.n = 0;
    l->warm = (uint32_t)m->warm.n;
    pthread_mutex_unlock(&c->lock);
}

static void node_on_changed(void *owner) {
    struct cluster *c = owner;
    const struct machine *m = node_machine(c->node);
    bool is_live = m->state == MACHINE_LIVE;
    int64_t away_ms = atomic_load(&c->away_ms);
    c->has_changed = true;
    cluster_note_lead(c);
    if (is_live) cluster_note_reached(c);
    if (is_live && away_ms > 0) atomic_store(&c->away_ms, 0);
    if (!is_live && away_ms == 0) atomic_store(&c->away_ms, clock_ms());
    if (is_live == c->is_live || (!is_live && m->state != MACHINE_AWAY)) return;
    cluster_tell_state(c);
    cluster_tell_app(c);
}

static const struct node_calls calls = {.policy = node_on_policy,
                                        .rules = node_on_rules,
                                        .release = node_on_release,
                                        .read = cluster_on_read,
                                        .fill = node_on_fill,
                                        .page = cluster_on_page,
                                        .epoch = node_on_epoch,
                                        .missed = node_on_missed,
                                        .reaped = node_on_reaped,
                                        .answer = node_on_answer,
                                        .changed = node_on_changed,
                                        .lead = cluster_on_lead,
                                        .answered = cluster_on_answered,
                                        .tell = cluster_on_tell,
                                        .refuses = cluster_on_refuses};

/* ---- The loop --------------------------------------------------------------------------- */

/* The end of a turn: whether something was released in it. */
static bool end_turn(struct cluster *c) {
    node_flush(c->node);
    cluster_say_leases(c);
    bool released = c->released;
    cluster_judge_all(c);
    cluster_post_answers(c);
    if (c->has_changed) show(c);
    c->has_changed = c->released = false;
    return released;
}

static void on_before_sleep(struct ev_loop *ev, struct ev_prepare *p, int events) {
    (void)ev, (void)events;
    struct cluster *c = p->data;
    if (!end_turn(c)) return;
    seq_wake(&c->hub->seq);
    mailbox_wake(&c->hub->app->mailbox); /* its replica takes in what was released */
}

/* It was stuck, and has taken in what was kept for it. */
static void reload_missed(struct cluster *c) {
    uint64_t missed = seq_own_missed(&c->hub->seq);
    if (missed == 0 || c->reloads) return;
    log_printf(
        LOG_WARN,
        "cluster: %llu events came while the app was stuck and are not in what it reads "
        "(app:latest, app:history): its channels are loaded again",
        (unsigned long long)missed);
    c->reloads = node_reload(c->node);
    if (!c->reloads) seq_refill_own(&c->hub->seq); /* none is here */
}

static void say_dead(struct cluster *c) {
    uint64_t reaped = node_figures(c->node)->reaped;
    if (reaped > c->reaped)
        log_printf(LOG_WARN,
                   "cluster: %llu of the nodes silent for %d s, and taken for dead; "
                   "what went with them is removed",
                   (unsigned long long)(reaped - c->reaped), CLUSTER_DEAD_MS / 1000);
    c->reaped = reaped;
}

static void tick(struct cluster *c) {
    say_dead(c);
    reload_missed(c);
    cluster_cool_idle(c);
    cluster_say_missed(c);
    cluster_say_unlike(c);
    show(c);
}

static void on_tick(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)ev, (void)events;
    tick(timer->data);
}

bool cluster_step(struct cluster *c) {
    int64_t now_ms = clock_ms();
    node_step(c->node);
    bool busy = mailbox_drain(&c->loop.mailbox, INT32_MAX) > 0;
    busy = end_turn(c) || busy;
    if (now_ms - c->ticked_ms < (int64_t)(TICK_SECONDS * 1000)) return busy;
    c->ticked_ms = now_ms;
    tick(c);
    return busy;
}

int64_t cluster_next(const struct cluster *c) {
    return node_next(c->node);
}

struct node *cluster_node(const struct cluster *c) {
    return c->node;
}

static void *run(void *arg) {
    struct cluster *c = arg;
    pthread_setname_np(pthread_self(), "sluice-cluster");
    loop_own(&c->loop);
    loop_run(&c->loop);
    return NULL;
}

/* ---- Life ------------------------------------------------------------------------------- */

int cluster_open(struct cluster **out, struct hub *hub, const struct node_options *o) {
    struct cluster *c = mem_new(sizeof *c);
    c->hub = hub;
    int err = loop_init(&c->loop, c);
    if (err < 0) {
        mem_free(c);
        return err;
    }
    pthread_mutex_init(&c->order, NULL);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->settled, NULL);
    named_init(&c->followed);
    list_init(&c->idle);
    list_init(&c->publishes);
    list_init(&c->places);
    list_init(&c->changes);
    list_init(&c->pages);
    messages_init(&c->asked);
    messages_init(&c->answers);
    atomic_init(&c->away_ms, clock_ms());
    atomic_init(&c->answered_ms, clock_boot_ms());
    atomic_init(&c->refused_ms, 0);
    atomic_init(&c->is_reached, false);
    ev_prepare_init(&c->before_sleep, on_before_sleep);
    ev_timer_init(&c->tick, on_tick, TICK_SECONDS, TICK_SECONDS);
    c->before_sleep.data = c->tick.data = c;
    err = node_new(&c->node, &c->loop, o, &calls, c);
    if (err < 0) {
        cluster_free(c);
        return err;
    }
    memcpy(hub->mark, node_machine(c->node)->slot, CLUSTER_MARK_LENGTH);
    ev_prepare_start(c->loop.ev, &c->before_sleep);
    ev_timer_start(c->loop.ev, &c->tick);
    *out = c;
    return 0;
}

static void await(struct cluster *c) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += START_WAIT_MS / 1000;
    until.tv_nsec += START_WAIT_MS % 1000 * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&c->lock);
    while (!c->is_settled &&
           pthread_cond_timedwait(&c->settled, &c->lock, &until) != ETIMEDOUT) {
    }
    c->is_settled = true; /* what is wrong from now on is logged */
    pthread_mutex_unlock(&c->lock);
}

int cluster_run(struct cluster *c) {
    ASSERT_OWNER(c->hub->app);
    sigset_t all, before;
    c->runs = true;
    c->has_thread = !c->hub->options.rehearsal;
    if (!c->has_thread) return 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&c->thread, NULL, run, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    c->runs = err == 0;
    if (err != 0) return -err;
    await(c);
    cluster_app_answers(c);
    if (!c->is_refused) return 0;
    cluster_close(c);
    return E_CONNECT;
}

static void on_stop(void *owner, struct message *m) {
    struct cluster *c = owner;
    mem_free(m);
    loop_break(&c->loop);
}

static void join(struct cluster *c) {
    mailbox_post(&c->loop.mailbox, mem_new(sizeof(struct message)), on_stop);
    pthread_join(c->thread, NULL);
    loop_own(&c->loop);
}

void cluster_close(struct cluster *c) {
    ASSERT_OWNER(c->hub->app);
    if (c->runs && c->has_thread) join(c);
    c->runs = false;
    cluster_flush(c); /* also what was posted to one that never ran, or had ended */
    mailbox_drain(&c->loop.mailbox, INT32_MAX);
    while (!list_empty(&c->publishes))
        give_back(c, container_of(c->publishes.next, struct shared_publish, node),
                  E_TIMEOUT);
    post_all(&c->hub->app->mailbox, &c->answers);
    while (!list_empty(&c->places))
        cluster_answer_place(c, container_of(c->places.next, struct place_message, node));
    cluster_drop_pages(c);
}

void cluster_free(struct cluster *c) {
    if (!c) return;
    node_free(c->node);
    if (c->fills) news_unref(c->fills);
    cluster_free_channels(c);
    policy_set_unref(c->policies);
    buf_free(&c->marks);
    ev_prepare_stop(c->loop.ev, &c->before_sleep);
    ev_timer_stop(c->loop.ev, &c->tick);
    loop_deinit(&c->loop);
    pthread_cond_destroy(&c->settled);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->order);
    mem_free(c);
}

/* ---- To look at -------------------------------------------------------------------------- */

void cluster_look(struct cluster *c, struct cluster_look *out) {
    pthread_mutex_lock(&c->lock);
    *out = c->look;
    pthread_mutex_unlock(&c->lock);
    int64_t away_ms = atomic_load(&c->away_ms);
    out->away_seconds = away_ms > 0 ? (double)(clock_ms() - away_ms) / 1000 : 0;
}

unsigned cluster_nodes_of(struct cluster *c, struct slice client) {
    unsigned n = 0;
    pthread_mutex_lock(&c->lock);
    struct slice marks = buf_slice(&c->marks);
    for (size_t i = 0; client.n >= CLUSTER_MARK_LENGTH && i < marks.n;
         i += CLUSTER_MARK_LENGTH)
        n += memcmp(marks.p + i, client.p, CLUSTER_MARK_LENGTH) == 0;
    pthread_mutex_unlock(&c->lock);
    return n;
}
