/* Channels that are followed here, and places that are judged; see cluster.h. */
#include "serve/cluster_inner.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/planted.h"
#include "serve/to_app.h"
#include "serve/to_io.h"

#define COOL_PARTS 60 /* a look at all idle channels takes so many seconds */
#define COOL_LEAST 1024
#define COOL_EMPTY_MS 5000 /* what holds nothing is quickly loaded again */

struct followed *cluster_find(const struct cluster *c, struct slice channel) {
    return named_get(&c->followed, channel);
}

/* ---- Policies --------------------------------------------------------------------------- */

struct policy cluster_policy(struct cluster *c, struct slice channel) {
    pthread_mutex_lock(&c->order);
    struct policy p = policy_of(c->policies, channel);
    pthread_mutex_unlock(&c->order);
    return p;
}

/* Other policies, the newest or some that others have replaced already. */
struct policies_message {
    struct message message;
    struct list node;            /* in cluster->changes */
    struct policy_set *policies; /* owned */
};

/* Whether it is, or will be for a moment: until all is loaded again, nothing of it goes to threads that
 * have been there. */
static bool is_local(const struct cluster *c, const struct policy *p,
                     struct slice channel) {
    bool local = p->local;
    if (PLANTED(678)) return local;
    for (struct list *at = c->changes.next; at != &c->changes && !local; at = at->next) {
        const struct policies_message *m =
            container_of(at, struct policies_message, node);
        local = policy_of(m->policies, channel).local;
    }
    return local;
}

void cluster_look_up(const struct cluster *c, struct followed *f) {
    struct policy p = policy_of(c->policies, f->named.name);
    f->version = c->version;
    f->kind = policy_kind(&p);
    f->local = is_local(c, &p, f->named.name);
    f->is_paged = policy_is_paged(&p);
    f->patient = policy_period(&p) >= PATIENT_LEAST_MS;
}

/* ---- Channels -------------------------------------------------------------------------- */

static struct followed *follow(struct cluster *c, struct slice channel) {
    struct followed *f = cluster_find(c, channel);
    if (f) return f;
    f = named_add(&c->followed, sizeof *f, channel);
    list_init(&f->idle);
    pthread_mutex_lock(&c->order);
    cluster_look_up(c, f);
    pthread_mutex_unlock(&c->order);
    f->loaded_as = f->kind;
    f->loaded_paged = f->is_paged;
    return f;
}

/* From now on nobody does. */
static void rest(struct cluster *c, struct followed *f) {
    list_remove(&f->idle);
    f->idle_ms = clock_ms();
    list_add(&c->idle, &f->idle);
}

static void answer_follow(struct follow_message *m) {
    mailbox_post(&m->lane->loop->mailbox, &m->message, io_on_followed);
}

static void on_follow(void *owner, struct message *message) {
    struct cluster *c = owner;
    struct follow_message *m = container_of(message, struct follow_message, message);
    struct followed *f = follow(c, m->channel);
    f->lanes |= 1u << m->lane->index;
    list_remove(&f->idle);
    if (node_warm(c->node, m->channel)) answer_follow(m);
    else mem_free(m);
}

static void on_leave(void *owner, struct message *message) {
    struct cluster *c = owner;
    struct follow_message *m = container_of(message, struct follow_message, message);
    struct followed *f = cluster_find(c, m->channel);
    if (f) f->lanes &= ~(1u << m->lane->index);
    if (f && f->lanes == 0) rest(c, f);
    mem_free(m);
}

/* To the app (takes). Behind what the channel was filled with. */
static void tell_app(struct cluster *c, struct follow_message *m) {
    mailbox_post(&c->hub->app->mailbox, &m->message, app_on_wanted);
}

void cluster_tell_filled(struct cluster *c, const struct cluster_news *n) {
    for (uint32_t i = 0; i < n->n; i++) {
        struct followed *f = cluster_find(c, n->fills[i].channel);
        if (f && f->is_heard) cluster_pass_loaded(c, n->fills[i].channel);
        if (f && f->wanted) tell_app(c, f->wanted);
        if (f) f->wanted = NULL;
    }
}

static void on_want(void *owner, struct message *message) {
    struct cluster *c = owner;
    struct follow_message *m = container_of(message, struct follow_message, message);
    struct followed *f = follow(c, m->channel);
    if (m->for_good) {
        f->lanes |= 1u << APP_LANE;
        list_remove(&f->idle);
    }
    if (f->lanes == 0) rest(c, f);
    if (node_warm(c->node, m->channel)) tell_app(c, m);
    else if (f->wanted) mem_free(m);
    else f->wanted = m;
}

static void on_hear(void *owner, struct message *message) {
    struct cluster *c = owner;
    struct follow_message *m = container_of(message, struct follow_message, message);
    struct followed *f = follow(c, m->channel);
    f->is_heard = true;
    f->lanes |= 1u << APP_LANE;
    list_remove(&f->idle);
    if (node_warm(c->node, m->channel)) cluster_pass_loaded(c, m->channel);
    mem_free(m);
}

static void send_name(struct cluster *c, struct lane *lane, struct slice channel,
                      bool for_good, message_fn *deliver) {
    struct follow_message *m = mem_new(sizeof *m + channel.n);
    m->lane = lane;
    m->for_good = for_good;
    memcpy(m->name, channel.p, channel.n);
    m->channel = slice_of(m->name, channel.n);
    mailbox_post(&c->loop.mailbox, &m->message, deliver);
}

void cluster_follow(struct cluster *c, struct lane *lane, struct slice channel) {
    ASSERT_OWNER(lane->loop);
    send_name(c, lane, channel, false, on_follow);
}

void cluster_leave(struct cluster *c, struct lane *lane, struct slice channel) {
    ASSERT_OWNER(lane->loop);
    send_name(c, lane, channel, false, on_leave);
}

void cluster_want(struct cluster *c, struct slice channel, bool for_good) {
    ASSERT_OWNER(c->hub->app);
    send_name(c, NULL, channel, for_good, on_want);
}

void cluster_hear(struct cluster *c, struct slice channel) {
    ASSERT_OWNER(c->hub->app);
    send_name(c, NULL, channel, true, on_hear);
}

/* What has become another kind of channel is loaded as that, and one of this node alone not at all:
 * when it is one of all again, threads follow it anew. */
static void take_policies(struct cluster *c, struct followed *f,
                          const struct policy_set *policies) {
    pthread_mutex_lock(&c->order);
    cluster_look_up(c, f);
    pthread_mutex_unlock(&c->order);
    bool local = policy_of(policies, f->named.name).local;
    if (!local && f->kind == f->loaded_as && f->is_paged == f->loaded_paged) return;
    f->loaded_as = f->kind;
    f->loaded_paged = f->is_paged;
    node_cool(c->node, f->named.name);
    if (!local) node_warm(c->node, f->named.name);
}

static void on_policies(void *owner, struct message *message) {
    struct cluster *c = owner;
    struct policies_message *m = container_of(message, struct policies_message, message);
    pthread_mutex_lock(&c->order);
    list_remove(&m->node);
    pthread_mutex_unlock(&c->order);
    for (struct map_node *node = NULL; (node = map_next(&c->followed, node));)
        take_policies(c, container_of(node, struct followed, named.node), m->policies);
    policy_set_unref(m->policies);
    mem_free(m);
}

void cluster_hold(struct cluster *c, struct policy_set *policies) {
    pthread_mutex_lock(&c->order);
    policy_set_unref(c->policies);
    c->policies = policy_set_ref(policies);
    c->version++;
}

void cluster_let_go(struct cluster *c) {
    struct policies_message *m = mem_new(sizeof *m);
    m->policies = policy_set_ref(c->policies);
    list_init(&m->node);
    list_add(&c->changes, &m->node);
    pthread_mutex_unlock(&c->order);
    mailbox_post(&c->loop.mailbox, &m->message, on_policies);
}

/* Nobody has followed it for as long as its events live. */
static void cool(struct cluster *c, struct followed *f) {
    struct slice name = f->named.name;
    node_cool(c->node, name);
    cluster_post(c, news_new(NEWS_DROP, name));
    list_remove(&f->idle);
    map_remove(&c->followed, &f->named.node);
    mem_free(f->wanted); /* it has given up long ago */
    mem_free(f);
}

static bool is_cold(struct cluster *c, const struct followed *f, int64_t now_ms) {
    if (!f->has_events) return now_ms - f->idle_ms >= COOL_EMPTY_MS;
    struct policy p = cluster_policy(c, f->named.name);
    bool is_short = p.ttl_ms > 0 && p.ttl_ms < TTL_DEFAULT_MS;
    return now_ms - f->idle_ms >= (is_short ? p.ttl_ms : TTL_DEFAULT_MS);
}

/* A part of them each time, in turn: their times differ. */
void cluster_cool_idle(struct cluster *c) {
    int64_t now_ms = clock_ms();
    size_t part = c->followed.n / COOL_PARTS;
    struct list *last = c->idle.prev;
    for (size_t left = part > COOL_LEAST ? part : COOL_LEAST; left > 0; left--) {
        if (list_empty(&c->idle)) return;
        struct followed *f = container_of(c->idle.next, struct followed, idle);
        bool is_last = &f->idle == last;
        list_remove(&f->idle);
        list_add(&c->idle, &f->idle);
        if (is_cold(c, f, now_ms)) cool(c, f);
        if (is_last) return;
    }
}

void cluster_free_channels(struct cluster *c) {
    for (struct map_node *node; (node = map_next(&c->followed, NULL));) {
        struct followed *f = container_of(node, struct followed, named.node);
        map_remove(&c->followed, node);
        mem_free(f->wanted);
        mem_free(f);
    }
    map_deinit(&c->followed);
}

/* ---- Places ---------------------------------------------------------------------------- */

/* False: it has to wait. */
static bool judge(struct cluster *c, struct place_message *m) {
    const struct machine *machine = node_machine(c->node);
    uint64_t place;
    if (!machine->epoch[0]) return false;
    bool asked = m->ticket > 0 && machine_heard(machine) >= m->ticket;
    enum machine_verdict v =
        machine_judge(machine, m->id.epoch, m->id.seq, asked, &place);
    if (v == PLACE_ASK && m->ticket == 0 && !node_ask(c->node, &m->ticket)) m->ticket = 0;
    return v != PLACE_ASK;
}

void cluster_answer_place(struct cluster *c, struct place_message *m) {
    seq_know(&c->hub->seq, node_machine(c->node)->known);
    list_remove(&m->node);
    mailbox_post(&m->lane->loop->mailbox, &m->message, io_on_judged);
}

void cluster_judge_all(struct cluster *c) {
    for (struct list *at = c->places.next, *next; at != &c->places; at = next) {
        struct place_message *m = container_of(at, struct place_message, node);
        next = at->next;
        if (judge(c, m)) cluster_answer_place(c, m);
    }
}

static void on_judge(void *owner, struct message *message) {
    struct cluster *c = owner;
    struct place_message *m = container_of(message, struct place_message, message);
    list_add(&c->places, &m->node);
    if (judge(c, m)) cluster_answer_place(c, m);
}

void cluster_judge(struct cluster *c, struct place_message *m) {
    ASSERT_OWNER(m->lane->loop);
    m->ticket = 0;
    list_init(&m->node);
    mailbox_post(&c->loop.mailbox, &m->message, on_judge);
}
