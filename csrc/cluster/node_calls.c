/* What a node sends: the calls of its machine as scripts; see node.h. */
#include "cluster/node_inner.h"

#include "base/clock.h"
#include "base/status.h"

#include <stdio.h>

struct script_proof node_proof(const struct node *n) {
    const struct machine *m = &n->machine;
    return (struct script_proof){.epoch = m->epoch,
                                 .fence = m->fence,
                                 .replid = m->replid,
                                 .slot = m->slot,
                                 .known = m->known};
}

static const char *rules_of(const struct node *n) {
    return n->calls->rules ? n->calls->rules(n->owner) : NULL;
}

static int write_join(struct node *n, struct buf *out, const struct cluster_call *call) {
    struct script_join join = {.slot = call->slot,
                               .epoch = call->epoch,
                               .known = call->known,
                               .new_epoch = call->new_epoch,
                               .safe = link_server(n->link)->safe,
                               .label = n->label,
                               .rules = rules_of(n)};
    return script_join(out, link_scripts(n->link), &join);
}

static int write_publishes(struct node *n, struct buf *out,
                           const struct cluster_call *call) {
    struct script_proof proof = node_proof(n);
    struct script_event events[CLUSTER_BATCH_MAX];
    for (unsigned i = 0; i < call->n; i++) {
        struct node_publish *p =
            container_of(call->publishes[i], struct node_publish, publish);
        snprintf(p->token, sizeof p->token, "%llu", (unsigned long long)p->publish.token);
        events[i] = p->event;
        events[i].token = slice_str(p->token);
        events[i].lease = p->publish.lease;
    }
    return script_pub(out, link_scripts(n->link), &proof, events, call->n);
}

static int write_load(struct node *n, struct buf *out, const struct cluster_call *call) {
    struct loading *load = &n->loads[call->tag];
    struct script_proof proof = node_proof(n);
    load->n = call->n;
    for (unsigned i = 0; i < call->n; i++) {
        struct node_policy policy = n->calls->policy(n->owner, call->channels[i]);
        load->rows[i] = (struct load_row){
            .fill = fill_new(call->channels[i], policy.kind, policy.ttl_s)};
        load->rows[i].fill->is_paged = policy.is_paged;
    }
    return loading_ask(load, out, link_scripts(n->link), &proof);
}

static int write_page(struct node *n, struct buf *out, const struct cluster_call *call) {
    struct script_proof proof = node_proof(n);
    const struct node_page *p = container_of(call->page, struct node_page, page);
    return script_page(out, link_scripts(n->link), &proof, &p->ask);
}

static int write_mark(struct node *n, struct buf *out, const struct cluster_call *call) {
    struct script_proof proof = node_proof(n);
    struct script_mark marks[SCRIPT_BATCH_MAX];
    unsigned many = call->n > SCRIPT_BATCH_MAX ? 0 : call->n; /* then one for all */
    for (unsigned i = 0; i < many; i++) {
        struct node_policy policy = n->calls->policy(n->owner, call->channels[i]);
        marks[i] = (struct script_mark){.channel = call->channels[i],
                                        .ttl_s = policy.ttl_s,
                                        .history = policy.history,
                                        .since_ms = call->since_ms};
    }
    return script_mark(out, link_scripts(n->link), &proof, marks, many);
}

/* Where Redis was away from all of them, the others are given the time to come back. */
static bool reaps(const struct machine *m) {
    return m->lead.token > 0 && m->now_ms - m->joined_ms >= CLUSTER_DEAD_MS;
}

static int write_beat(struct node *n, struct buf *out, const struct cluster_call *call) {
    struct script_proof proof = node_proof(n);
    struct script_beat beat = {.label = n->label,
                               .safe = link_server(n->link)->safe,
                               .feed_events = n->feed_events,
                               .rules = rules_of(n),
                               .would_lead = call->would_lead,
                               .reaps = reaps(&n->machine)};
    return script_beat(out, link_scripts(n->link), &proof, &beat);
}

static int write_keep(struct node *n, struct buf *out) {
    struct script_proof proof = node_proof(n);
    return script_keep(out, link_scripts(n->link), &proof);
}

int node_write_call(struct node *n, struct buf *out, const struct cluster_call *call) {
    switch (call->kind) {
    case CALL_JOIN: return write_join(n, out, call);
    case CALL_PUBLISH: return write_publishes(n, out, call);
    case CALL_LOAD: return write_load(n, out, call);
    case CALL_PAGE: return write_page(n, out, call);
    case CALL_MARK: return write_mark(n, out, call);
    case CALL_BEAT: n->beat_us = clock_us(); return write_beat(n, out, call);
    case CALL_KEEP: return write_keep(n, out);
    }
    return E_INVAL;
}
