/* Parking; see follow.h. */
#include "serve/io/follow.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/named.h"
#include "base/status.h"
#include "serve/cluster.h"
#include "serve/cluster_news.h"
#include "serve/io/dispatch.h"
#include "serve/io/feeding.h"
#include "serve/io/worker.h"
#include "serve/to_app.h"

#define WALK_SECONDS 1.0
#define MOVED_MS \
    2000 /* what only Redis can judge or load waits so long while it is away */
#define WALK_PARTS 60 /* a whole walk takes so many */
#define WALK_LEAST 1024

struct followed {
    struct named named;
    bool is_here;
    struct list waiting; /* struct parked */
};

/* What waits: a request, or a subscription of an open stream. */
struct parked {
    struct list node; /* in followed->waiting; in none while its place is asked for */
    struct list all;  /* in following->requests */
    int64_t since_ms;
    bool is_asked, is_over; /* its place is being judged; and nobody waits for that */
    struct list opening;    /* in following->openings, when the app has answered it */
    struct worker *worker;
    struct request *request;       /* shared; NULL: */
    struct client_message *change; /* ... owned */
    struct plan *plan;             /* shared */
    struct message *later, **last; /* for its client, which is not open yet */
    struct place_message place;
};

/* Found, or asked for. */
static struct followed *follow(struct worker *w, struct slice channel) {
    struct followed *f = named_get(&w->following.channels, channel);
    if (f) return f;
    f = named_add(&w->following.channels, sizeof *f, channel);
    list_init(&f->waiting);
    cluster_follow(w->hub->cluster, &w->lane, channel);
    return f;
}

/* ---- What is missing -------------------------------------------------------------------- */

static bool is_local(const struct worker *w, const struct plan *plan, uint32_t i) {
    return chans_is_local(&w->fan.chans, plan->specs[i].channel);
}

/* Of channels of this node alone no id says anything. */
static bool needs_place(const struct worker *w, const struct plan *plan) {
    bool local = plan->n > 0;
    for (uint32_t i = 0; i < plan->n && local; i++) local = is_local(w, plan, i);
    return !local;
}

/* All are asked for at once. NULL: none is missing. */
static struct followed *first_missing(struct worker *w, const struct plan *plan) {
    struct followed *missing = NULL;
    for (uint32_t i = 0; i < plan->n; i++) {
        if (is_local(w, plan, i)) continue;
        struct followed *f = follow(w, plan->specs[i].channel);
        if (!missing && !f->is_here) missing = f;
    }
    return missing;
}

static struct eventid id_of(const struct request *r) {
    struct feed_ask ask;
    if (r->route->kind != ROUTE_FEED) return r->last_id;
    bool wrong = feeding_read_ask(r, &ask) != NULL;
    if (wrong) ask.from = (struct eventid){0};
    return ask.from;
}

/* An id that this node has not given may be one of a node that is ahead, or of an epoch that has begun. */
static bool is_unknown(const struct worker *w, const struct eventid *id) {
    uint64_t base;
    if (id->kind != EVENTID_GOOD) return false;
    if (strcmp(id->epoch, w->fan.epoch) != 0)
        return !lineage_find(&w->fan.lineage, id->epoch, &base);
    return id->seq > atomic_load_explicit(w->fan.log_head, memory_order_acquire);
}

/* ---- Parking ---------------------------------------------------------------------------- */

static struct parked *park(struct worker *w, struct plan *plan) {
    struct parked *p = mem_new(sizeof *p);
    p->worker = w;
    p->plan = plan_ref(plan);
    p->last = &p->later;
    list_init(&p->node);
    list_init(&p->opening);
    list_init(&p->all);
    p->since_ms = w->now_ms;
    return p;
}

static void unpark(struct parked *p) {
    list_remove(&p->node);
    list_remove(&p->opening);
    list_remove(&p->all);
    plan_unref(p->plan);
    request_unref(p->request);
    mem_free(p);
}

/* True: it waits for the next thing that is missing. */
static bool wait_on(struct parked *p) {
    struct worker *w = p->worker;
    struct request *r = p->request;
    struct eventid id = {0};
    if (r && !r->judged && needs_place(w, p->plan)) id = id_of(r);
    if (is_unknown(w, &id)) {
        p->is_asked = true;
        p->place = (struct place_message){.lane = &w->lane, .id = id};
        cluster_judge(w->hub->cluster, &p->place);
        return true;
    }
    struct followed *missing = first_missing(w, p->plan);
    if (!missing) return false;
    list_add(&missing->waiting, &p->node);
    return true;
}

bool follow_waits(struct worker *w, struct request *r, struct plan *plan) {
    ASSERT_OWNER(&w->loop);
    if (!w->hub->cluster || r->is_head) return false;
    struct eventid id = {0};
    if (!r->judged && needs_place(w, plan)) id = id_of(r);
    if (!is_unknown(w, &id) && !first_missing(w, plan)) return false;
    struct parked *p = park(w, plan);
    p->request = request_ref(r);
    list_add(&w->following.requests, &p->all);
    if (r->client) list_add(&w->following.openings, &p->opening);
    return wait_on(p);
}

/* ---- Going on --------------------------------------------------------------------------- */

/* What the app has sent to its client meanwhile. */
static void deliver(struct worker *w, struct message *m) {
    for (struct message *next; m; m = next) {
        next = m->next;
        io_on_client(w, m);
    }
}

static void go_on_answered(struct parked *p) {
    struct worker *w = p->worker;
    struct message *later = p->later;
    struct request *r = request_ref(p->request);
    unpark(p);
    io_on_reply(w, &r->to_io);
    deliver(w, later);
}

/* A plan of the route's own: nobody was asked. */
static void go_on_asked(struct parked *p) {
    struct request *r = request_ref(p->request);
    struct conn *c = r->conn;
    unpark(p);
    bool stays = c && !c->doomed && atomic_load(&r->state) == REQUEST_QUEUED;
    if (stays && dispatch_plan(c, r)) conn_next(c);
    if (stays) conn_go_on(c);
    request_unref(r);
}

static void go_on_changed(struct parked *p) {
    struct worker *w = p->worker;
    struct client_message *m = p->change;
    unpark(p);
    io_on_client(w, &m->message);
}

static void free_message(struct client_message *m) {
    plan_unref(m->plan);
    client_unref(m->client);
    mem_free(m);
}

static void drop_later(struct parked *p) {
    for (struct message *m = p->later, *next; m; m = next) {
        next = m->next;
        free_message(container_of(m, struct client_message, message));
    }
    p->later = NULL;
    p->last = &p->later;
}

static void drop(struct parked *p) {
    drop_later(p);
    if (p->change) free_message(p->change);
    else if (p->request->client && !p->request->again)
        to_app_closed(p->request->client, END_GONE);
    unpark(p);
}

static void go_on(struct parked *p) {
    list_remove(&p->node);
    if (!p->worker->hub->cluster) drop(p); /* the server is being freed */
    else if (wait_on(p)) return;
    else if (p->change) go_on_changed(p);
    else if (p->request->client) go_on_answered(p);
    else go_on_asked(p);
}

static void note_here(struct worker *w, struct slice channel) {
    struct followed *f = named_get(&w->following.channels, channel);
    struct list waiting;
    if (!f || f->is_here) return;
    f->is_here = true;
    list_init(&waiting);
    list_take_all(&waiting, &f->waiting);
    while (!list_empty(&waiting)) go_on(container_of(waiting.next, struct parked, node));
}

void io_on_followed(void *owner, struct message *message) {
    struct follow_message *m = container_of(message, struct follow_message, message);
    note_here(owner, m->channel);
    mem_free(m);
}

void io_on_judged(void *owner, struct message *message) {
    (void)owner;
    struct place_message *m = container_of(message, struct place_message, message);
    struct parked *p = container_of(m, struct parked, place);
    p->is_asked = false;
    p->request->judged = true;
    if (p->is_over) unpark(p);
    else go_on(p);
}

void io_on_cluster(void *owner, struct message *message) {
    struct worker *w = owner;
    struct news_post *post = container_of(message, struct news_post, message);
    struct cluster_news *n = post->news;
    news_apply(&w->fan, n);
    for (uint32_t i = 0; i < n->n; i++) note_here(w, n->fills[i].channel);
    news_unref(n);
    mem_free(post);
}

/* ---- Messages for clients --------------------------------------------------------------- */

static struct parked *find_opening(const struct worker *w, const struct client *client) {
    const struct list *all = &w->following.openings;
    for (struct list *at = all->next; at != all; at = at->next) {
        struct parked *p = container_of(at, struct parked, opening);
        if (p->request->client == client) return p;
    }
    return NULL;
}

/* It follows that channel no longer, before it did. */
static void take_back(struct worker *w, const struct client_message *m) {
    struct followed *f = named_get(&w->following.channels, m->plan->specs[0].channel);
    for (struct list *at = f ? f->waiting.next : NULL, *next; f && at != &f->waiting;
         at = next) {
        struct parked *p = container_of(at, struct parked, node);
        next = at->next;
        if (!p->change || p->change->client != m->client) continue;
        free_message(p->change);
        unpark(p);
    }
}

bool follow_parks(struct worker *w, struct client_message *m) {
    ASSERT_OWNER(&w->loop);
    if (!w->hub->cluster) return false;
    struct parked *p = m->client->outlet ? NULL : find_opening(w, m->client);
    if (p) {
        m->message.next = NULL;
        *p->last = &m->message;
        p->last = &m->message.next;
        return true;
    }
    if (!m->client->outlet) return false;
    if (m->op == CLIENT_UNSUBSCRIBE || m->op == CLIENT_DENY) take_back(w, m);
    if (m->op != CLIENT_SUBSCRIBE || !first_missing(w, m->plan)) return false;
    p = park(w, m->plan);
    p->change = m;
    return wait_on(p);
}

/* ---- Giving up -------------------------------------------------------------------------- */

static void refuse(struct conn *c, struct request *r, const struct bye *bye) {
    if (request_streams(r)) {
        dispatch_bye(c, r, bye);
        conn_end_request(c);
    } else dispatch_overload(c, r);
    conn_go_on(c);
}

static void give_up(struct parked *p, const struct bye *bye) {
    struct request *r = request_ref(p->request);
    struct conn *c = r->conn;
    bool stays = c && !c->doomed && (r->client || queue_withdraw(r));
    if (r->client && !r->again) to_app_closed(r->client, bye->reason);
    drop_later(p);
    list_remove(&p->all);
    list_remove(&p->opening);
    p->is_over = true;
    if (!p->is_asked) unpark(p);
    if (stays) refuse(c, r, bye);
    request_unref(r);
}

/* Those that have waited for too long. */
static void look_at_requests(struct worker *w) {
    struct list *all = &w->following.requests;
    bool is_away = cluster_is_apart(w->hub->cluster);
    for (struct list *at = all->next, *next; at != all; at = next) {
        struct parked *p = container_of(at, struct parked, all);
        int64_t ms = w->now_ms - p->since_ms;
        next = at->next;
        if (ms < MOVED_MS) return;
        if (is_away) give_up(p, &(struct bye){.reason = END_MOVED});
        else if (ms >= QUEUE_TIMEOUT_MS)
            give_up(p, &(struct bye){.reason = END_OVERLOAD, .cause = BY_QUEUE});
    }
}

/* ---- Letting go ------------------------------------------------------------------------- */

static bool is_used(const struct worker *w, const struct followed *f) {
    const struct chan *c = chans_find(&w->fan.chans, f->named.name);
    return !f->is_here || !list_empty(&f->waiting) || (c && c->n_subs > 0);
}

static void let_go(struct worker *w, struct followed *f) {
    cluster_leave(w->hub->cluster, &w->lane, f->named.name);
    map_remove(&w->following.channels, &f->named.node);
    mem_free(f);
}

static void walk(struct worker *w) {
    look_at_requests(w);
    const struct map *m = &w->following.channels;
    size_t *at = &w->following.walked;
    size_t buckets =
        m->size / WALK_PARTS > WALK_LEAST ? m->size / WALK_PARTS : WALK_LEAST;
    if (*at >= m->size) *at = 0;
    for (; buckets > 0 && *at < m->size; buckets--, (*at)++) {
        for (struct map_node *node = m->buckets[*at], *next; node; node = next) {
            next = node->next;
            struct followed *f = container_of(node, struct followed, named.node);
            if (!is_used(w, f)) let_go(w, f);
        }
    }
}

static void on_walk(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)ev, (void)events;
    walk(timer->data);
}

void follow_step(struct worker *w) {
    struct following *f = &w->following;
    if (!w->hub->cluster || w->now_ms - f->walked_ms < (int64_t)(WALK_SECONDS * 1000))
        return;
    f->walked_ms = w->now_ms;
    walk(w);
}

int64_t follow_next(const struct worker *w) {
    const struct following *f = &w->following;
    return list_empty(&f->requests) ? INT64_MAX
                                    : f->walked_ms + (int64_t)(WALK_SECONDS * 1000);
}

/* ---- Other policies --------------------------------------------------------------------- */

/* Who waits for a channel of this node alone need not wait. */
static void let_go_local(struct worker *w) {
    struct map *m = &w->following.channels;
    struct list waiting;
    list_init(&waiting);
    for (struct map_node *node = map_next(m, NULL), *next; node; node = next) {
        struct followed *f = container_of(node, struct followed, named.node);
        next = map_next(m, node);
        if (!chans_is_local(&w->fan.chans, f->named.name)) continue;
        list_take_all(&waiting, &f->waiting);
        let_go(w, f);
    }
    while (!list_empty(&waiting)) go_on(container_of(waiting.next, struct parked, node));
}

void follow_policies(struct worker *w) {
    ASSERT_OWNER(&w->loop);
    if (!w->hub->cluster) return;
    let_go_local(w);
    for (struct chan *c = NULL; (c = chans_next(&w->fan.chans, c));)
        if (c->n_subs > 0 && !c->policy->local) follow(w, chan_name(c));
}

/* ---- Life ------------------------------------------------------------------------------- */

static void share(struct worker *w) {
    fan_share(&w->fan);
    w->fan.history = cluster_history(w->hub->cluster, &w->lane);
}

void follow_init(struct worker *w) {
    struct following *f = &w->following;
    if (w->hub->cluster) share(w);
    named_init(&f->channels);
    list_init(&f->openings);
    list_init(&f->requests);
    ev_timer_init(&f->walk, on_walk, WALK_SECONDS, WALK_SECONDS);
    f->walk.data = w;
    if (w->hub->cluster && !w->hub->options.rehearsal)
        ev_timer_start(w->loop.ev, &f->walk);
}

void follow_deinit(struct worker *w) {
    struct following *f = &w->following;
    ev_timer_stop(w->loop.ev, &f->walk);
    for (struct map_node *node; (node = map_next(&f->channels, NULL));) {
        struct followed *one = container_of(node, struct followed, named.node);
        while (!list_empty(&one->waiting))
            drop(container_of(one->waiting.next, struct parked, node));
        map_remove(&f->channels, node);
        mem_free(one);
    }
    map_deinit(&f->channels);
}
