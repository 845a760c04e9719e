/* What the files of a node share: node.c has it at work, node_calls.c what it sends. */
#ifndef SLUICE_CLUSTER_NODE_INNER_H
#define SLUICE_CLUSTER_NODE_INNER_H

#include "cluster/node.h"

struct node {
    struct machine machine;
    struct link *link;
    struct loop *loop;
    struct ev_timer timer, again;
    int64_t again_ms, looked_ms; /* by hand, in place of timers */
    const struct node_calls *calls;
    void *owner;
    char label[64];
    uint32_t feed_events;
    bool broken;  /* found where the machine cannot be told */
    bool reading; /* an XREAD is under way, or what it brought is looked at */
    bool by_hand;
    uint64_t generation; /* of reading: what an older one brings is void */
    uint64_t bad_entries;
    int64_t ahead_ms; /* of the server's clock before ours */
    uint32_t nodes;   /* that beat lately */
    struct buf marks; /* of them */
    enum cluster_call_kind kinds[CLUSTER_CALLS_MAX]; /* by tag */
    uint32_t sizes[CLUSTER_CALLS_MAX];
    struct loading loads[CLUSTER_CALLS_MAX];
    enum cluster_refusal keep_refused; /* by the first of the two that keep */
    struct link_durable durable;
};

/* What each call but a join begins with. */
struct script_proof node_proof(const struct node *n);

/* Append the command of a call: 0 or a code. */
int node_write_call(struct node *n, struct buf *out, const struct cluster_call *call);

#endif
