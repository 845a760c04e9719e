/* Finding and measuring; see groups.h. */
#include "serve/app/groups.h"

#include "base/mem.h"
#include "fan/chans.h"
#include "serve/app/server.h"
#include "serve/report.h"

static const char OTHER[] = "other";

static struct group *add(struct groups *g, struct slice pattern) {
    struct group *group = mem_new(sizeof *group);
    group->pattern = mem_strndup(pattern.p, pattern.n);
    g->list[g->n++] = group;
    return group;
}

void groups_init(struct groups *g) {
    *g = (struct groups){0};
    add(g, slice_str(OTHER));
}

void groups_deinit(struct groups *g) {
    for (uint32_t i = 0; i < g->n; i++) {
        mem_free(g->list[i]->pattern);
        mem_free(g->list[i]);
    }
    mem_free(g->of_rule);
    policy_set_unref(g->set);
}

/* A channel that is called "other" is one of them. */
static struct group *get(struct groups *g, struct slice pattern) {
    for (uint32_t i = 0; i < g->n; i++)
        if (slice_eq(slice_str(g->list[i]->pattern), pattern)) return g->list[i];
    return g->n <= GROUPS_MAX ? add(g, pattern) : g->list[0];
}

/* A reload may have brought other patterns. */
static void keep_up(struct server *s) {
    struct groups *g = &s->groups;
    struct policy_set *set = s->fan.chans.policies.set;
    if (set == g->set) return;
    uint32_t n = policy_set_count(set);
    mem_free(g->of_rule);
    policy_set_unref(g->set);
    g->of_rule = mem_new((n + 1) * sizeof(struct group *));
    for (uint32_t i = 0; i < n; i++) g->of_rule[i] = get(g, policy_set_pattern(set, i));
    g->set = policy_set_ref(set);
    g->version++;
}

static struct group *of_policy(struct server *s, const struct policy *p) {
    keep_up(s);
    return p->rule ? s->groups.of_rule[p->rule - 1] : s->groups.list[0];
}

struct group *groups_of(struct server *s, const struct chan *c) {
    ASSERT_OWNER(&s->loop);
    return of_policy(s, c->policy);
}

struct group *groups_find(struct server *s, struct slice channel) {
    ASSERT_OWNER(&s->loop);
    const struct chan *c = chans_find(&s->fan.chans, channel);
    if (c) return of_policy(s, c->policy);
    struct policy policy = policy_of(s->fan.chans.policies.set, channel);
    return of_policy(s, &policy);
}

/* ---- Measuring ---------------------------------------------------------------------- */

static struct group *of_topic(struct server *s, struct topic *t) {
    if (t->group && t->group_version == s->groups.version) return t->group;
    t->group = groups_find(s, topic_name(t));
    t->group_version = s->groups.version;
    return t->group;
}

static void measure_report(struct server *s, const struct report *r) {
    for (const struct list *l = r->tallies.next; l != &r->tallies; l = l->next) {
        const struct tally *t = container_of(l, struct tally, node);
        struct group *group = groups_find(s, slice_of(t->channel, t->channel_n));
        group->behind += t->n_lagging;
        if (t->lag.events > group->lag.events) group->lag.events = t->lag.events;
        if (t->lag.bytes > group->lag.bytes) group->lag.bytes = t->lag.bytes;
    }
}

void groups_measure(struct server *s) {
    ASSERT_OWNER(&s->loop);
    struct groups *g = &s->groups;
    keep_up(s);
    for (uint32_t i = 0; i < g->n; i++) {
        struct group *group = g->list[i];
        group->channels = group->subscribers = group->held = group->held_bytes = 0;
        group->behind = group->over_budget = 0;
        group->lag = (struct lag){0};
    }
    for (struct chan *c = NULL; (c = chans_next(&s->fan.chans, c));) {
        struct group *group = groups_of(s, c);
        group->channels++;
        group->held += chan_events(c);
        const struct latest *l = c->kept->latest;
        if (c->kind != CHANNEL_STATE) group->held_bytes += c->kept->ring_bytes;
        else if (l) group->held_bytes += l->bytes;
    }
    for (struct map_node *node = NULL; (node = map_next(&s->topics, node));) {
        struct topic *t = container_of(node, struct topic, node);
        if (t->subscribers > 0) of_topic(s, t)->subscribers += t->subscribers;
    }
    budgets_measure(s);
    for (unsigned i = 0; i < s->hub.n_lanes; i++)
        if (s->hub.lanes[i]->report) measure_report(s, s->hub.lanes[i]->report);
}
