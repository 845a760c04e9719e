/* Publishes and the app's replica; see shared.h. */
#include "serve/app/shared.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/pattern.h"
#include "base/status.h"
#include "serve/app/accounts.h"
#include "serve/app/memory.h"
#include "serve/app/registry.h"
#include "serve/app/tickets.h"
#include "serve/cluster.h"
#include "serve/cluster_news.h"

/* ---- Publishing ----------------------------------------------------------------------- */

/* What any node would refuse. */
static int check(const struct policy *p, const struct event *e) {
    struct frame *f;
    if (pattern_check_channel(e->channel)) return E_CHANNEL;
    if (p->key.n > 0 && e->key.n == 0) return E_KEY;
    int err = frame_new(&f, e, true, 0);
    if (err == 0) frame_unref(f);
    return err;
}

static struct slice put(char **at, struct slice from) {
    struct slice to = slice_of(*at, from.n);
    if (from.n > 0) memcpy(*at, from.p, from.n);
    *at += from.n;
    return to;
}

/* A second use of an idempotency key with other content is told from the first by this. */
static uint32_t content_mark(const struct event *e) {
    uint32_t crc = crc32c(0, e->name.p, e->name.n);
    crc = crc32c(crc, e->key.p, e->key.n);
    return crc32c(crc, e->data.p, e->data.n);
}

static char letter_of(const struct policy *p) {
    switch (policy_kind(p)) {
    case CHANNEL_STATE: return FEED_STATE;
    case CHANNEL_KEYED: return FEED_KEYED;
    default: return FEED_LOG;
    }
}

static struct shared_publish *new_publish(const struct commit *c,
                                          const struct policy *p) {
    const struct event *e = &c->event;
    struct slice name = e->name.n > 0 ? e->name : slice_str("message");
    size_t n = e->channel.n + name.n + e->key.n + e->data.n + c->idempotency.n +
               c->expected.n + 1;
    struct shared_publish *out = mem_try(sizeof *out + n);
    if (!out) return NULL;
    memset(out, 0, sizeof *out);
    char *at = out->bytes;
    list_init(&out->node);
    out->lives_ms = e->ttl_ms;
    out->inner.publish.lease = c->lease;
    out->inner.publish.durable = p->durable || c->is_kept;
    out->channel_hash = map_hash(e->channel);
    out->inner.event = (struct script_event){
        .kind = letter_of(p),
        .remove = e->remove,
        .channel = put(&at, e->channel),
        .event = put(&at, name),
        .key = put(&at, e->key),
        .data = put(&at, e->data),
        .idempotency = put(&at, c->idempotency),
        .is_judged = c->is_judged,
        .is_owned = c->is_owned,
        .expected = c->expected.p ? put(&at, c->expected) : c->expected,
        .crc = content_mark(e),
        .history = p->history,
        .ttl_s = cluster_ttl_s(p),
        .keys_max = p->max_keys};
    return out;
}

int shared_commit(struct server *s, const struct commit *c, uint64_t *ticket) {
    ASSERT_OWNER(&s->loop);
    struct policy p = policy_of(s->fan.chans.policies.set, c->event.channel);
    int err =
        p.local ? E_BUSY : check(&p, &c->event); /* a reload made it one of this node */
    if (err < 0) return err;
    struct shared_publish *out = new_publish(c, &p);
    if (!out) return E_NOMEM;
    if (c->is_owned) cluster_note_lease(s->hub.cluster, c->event.channel, c->event.key);
    out->ticket = *ticket = tickets_take(&s->shared_tickets);
    cluster_publish(s->hub.cluster, out);
    return 0;
}

static uint32_t count_of(struct server *s, const struct shared_publish *p) {
    struct slice channel = p->inner.event.channel;
    return channel.n > 0 ? registry_count(s, channel, p->channel_hash) : 0;
}

static bool are_sizes(const struct shared_notice *n) {
    return n->name.n > 0 && n->name.n <= EVENT_NAME_MAX && n->to.n <= EVENT_KEY_MAX &&
           n->text.n <= EVENT_BYTES_MAX;
}

int shared_tell(struct server *s, const struct shared_notice *n, uint64_t *ticket) {
    ASSERT_OWNER(&s->loop);
    if (!are_sizes(n)) return E_TOOBIG;
    struct shared_publish *out = mem_try(sizeof *out + n->name.n + n->to.n + n->text.n);
    if (!out) return E_NOMEM;
    memset(out, 0, sizeof *out);
    char *at = out->bytes;
    list_init(&out->node);
    out->inner.event = (struct script_event){.kind = n->letter,
                                             .event = put(&at, n->name),
                                             .key = put(&at, n->to),
                                             .data = put(&at, n->text)};
    out->ticket = *ticket = tickets_take(&s->shared_tickets);
    cluster_publish(s->hub.cluster, out);
    return 0;
}

void app_on_notice(void *owner, struct message *message) {
    struct server *s = owner;
    struct notice_message *m = container_of(message, struct notice_message, message);
    server_take_in(s, seq_take_own(&s->hub.seq));
    if (s->events->on_notice) s->events->on_notice(s->context, m);
    cluster_took_notice(s->hub.cluster, m);
}

void app_on_published(void *owner, struct message *m) {
    struct server *s = owner;
    struct shared_publish *p = container_of(m, struct shared_publish, message);
    const struct node_publish *inner = &p->inner;
    server_take_in(s, seq_take_own(&s->hub.seq));
    server_catch_up(s);
    struct answer a = {.ticket = p->ticket,
                       .is_final = true,
                       .err = p->err,
                       .is_event = inner->event.channel.n > 0,
                       .is_deposed = inner->publish.deposed,
                       .has_id = inner->event.kind != FEED_STATE,
                       .is_duplicate = inner->publish.repeats,
                       .epoch = inner->publish.repeats ? inner->epoch : NULL,
                       .seq = inner->publish.seq,
                       .subscribers = count_of(s, p)};
    if (s->events->on_answer) s->events->on_answer(s->context, &a);
    tickets_give_back(&s->shared_tickets, p->ticket);
    mem_free(p);
}

/* ---- Reading ----------------------------------------------------------------------------- */

#define WANT_MS 5000 /* a read waits so long for its channel */

/* A read that waits. */
struct want {
    struct list node;
    uint64_t ticket;
    int64_t since_ms;
    size_t n;
    char name[];
};

/* What is filled, and not dropped, knows its floor. One of this node alone is here. */
static bool has(const struct server *s, struct slice channel) {
    const struct chan *c = chans_find(&s->fan.chans, channel);
    return (c && c->known) || chans_is_local(&s->fan.chans, channel);
}

bool shared_has(struct server *s, struct slice channel, bool for_good, uint64_t *ticket) {
    ASSERT_OWNER(&s->loop);
    server_take_in(s, seq_take_own(&s->hub.seq));
    if (!s->hub.cluster || has(s, channel) || pattern_check_channel(channel)) return true;
    struct want *w = mem_new(sizeof *w + channel.n);
    w->ticket = *ticket = tickets_take(&s->shared_tickets);
    w->since_ms = clock_ms();
    w->n = channel.n;
    memcpy(w->name, channel.p, channel.n);
    list_add(&s->shared_wants, &w->node);
    cluster_want(s->hub.cluster, channel, for_good);
    return false;
}

static void end_want(struct server *s, struct want *w, int err) {
    struct answer a = {.ticket = w->ticket, .is_final = true, .err = err};
    list_remove(&w->node);
    if (s->events->on_answer) s->events->on_answer(s->context, &a);
    tickets_give_back(&s->shared_tickets, w->ticket);
    mem_free(w);
}

static void note_here(struct server *s, struct slice channel) {
    for (struct list *at = s->shared_wants.next, *next; at != &s->shared_wants;
         at = next) {
        struct want *w = container_of(at, struct want, node);
        next = at->next;
        if (slice_eq(slice_of(w->name, w->n), channel)) end_want(s, w, 0);
    }
}

void app_on_wanted(void *owner, struct message *message) {
    struct server *s = owner;
    struct follow_message *m = container_of(message, struct follow_message, message);
    server_take_in(s, seq_take_own(&s->hub.seq));
    note_here(s, m->channel);
    mem_free(m);
}

void shared_tick(struct server *s) {
    int64_t now_ms = clock_ms();
    memory_check(s);
    while (!list_empty(&s->shared_wants)) {
        struct want *w = container_of(s->shared_wants.next, struct want, node);
        if (now_ms - w->since_ms < WANT_MS) return;
        end_want(s, w, E_AWAY);
    }
}

/* ---- The app's replica ------------------------------------------------------------------ */

static size_t held_by(const struct server *s, struct slice channel) {
    const struct chan *c = chans_find(&s->fan.chans, channel);
    return c ? memory_of(c) : 0;
}

void app_on_cluster(void *owner, struct message *m) {
    struct server *s = owner;
    struct news_post *post = container_of(m, struct news_post, message);
    struct cluster_news *n = post->news;
    size_t before = 0, after = 0;
    if (n->kind == NEWS_DROP) before = held_by(s, n->channel);
    for (uint32_t i = 0; i < n->n; i++) before += held_by(s, n->fills[i].channel);
    news_apply(&s->fan, n);
    for (uint32_t i = 0; i < n->n; i++) after += held_by(s, n->fills[i].channel);
    s->held += after - before;
    if (n->kind == NEWS_EPOCH) memory_recount(s);
    if (n->kind == NEWS_DROP) accounts_release(s, n->channel);
    news_unref(n);
    mem_free(post);
}

void app_on_standing(void *owner, struct message *message) {
    struct server *s = owner;
    struct standing_message *m = container_of(message, struct standing_message, message);
    server_take_in(s, seq_take_own(&s->hub.seq));
    if (s->events->on_cluster)
        s->events->on_cluster(s->context, m->is_live, m->epoch, m->lead);
    mem_free(m);
}

/* ---- The end ---------------------------------------------------------------------------- */

void shared_close(struct server *s) {
    struct cluster *c = s->hub.cluster;
    if (!c) return;
    cluster_close(c);
    while (!list_empty(&s->shared_wants))
        end_want(s, container_of(s->shared_wants.next, struct want, node), E_CLOSED);
    s->hub.cluster = NULL;
    cluster_free(c);
}
