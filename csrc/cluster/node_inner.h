/* What the files of a node share: node.c has it at work, node_calls.c what it sends, node_answers.c what it
 * is answered. */
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
    char began_by[64]; /* whose join began the epoch: its label */
    uint32_t feed_events;
    const char *broken; /* why; found where the machine cannot be told */
    bool reading;       /* an XREAD is under way, or what it brought is looked at */
    bool by_hand;
    uint64_t generation; /* of reading: what an older one brings is void */
    struct node_figures figures;
    int64_t beat_us;  /* when the last one was sent */
    int64_t ahead_ms; /* of the server's clock before ours */
    char unlike[400]; /* nodes with other rules, for people */
    uint32_t nodes;   /* that beat lately */
    struct buf marks; /* of them */
    enum cluster_call_kind kinds[CLUSTER_CALLS_MAX]; /* by tag */
    uint32_t sizes[CLUSTER_CALLS_MAX];
    struct loading loads[CLUSTER_CALLS_MAX];
    enum script_answer refusal; /* of writes, by the server; SCRIPT_OK: it takes them */
    enum cluster_refusal keep_refused; /* by the first of the two that keep */
    struct link_durable durable;
};

#define KEEP_WRITTEN CLUSTER_CALLS_MAX /* a tag beside those of calls */

/* What each call but a join begins with. */
struct script_proof node_proof(const struct node *n);

/* Append the command of a call: 0 or a code. */
int node_write_call(struct node *n, struct buf *out, const struct cluster_call *call);

/* Send the command of a call; or note that it could not be written ('err'). */
void node_send(struct node *n, unsigned tag, struct buf *command, int err);

/* The connections are of no use any more: they are closed at the end of the turn. The first reason stays. */
void node_break(struct node *n, const char *why);

/* An answer to a script, and to what waits for replicas or a disk. */
void node_on_script(struct node *n, unsigned tag, const struct reply *r);
void node_on_kept(struct node *n, uint64_t tag, const struct reply *r);

/* What an answer means that is none, as a sentence. */
const char *node_refusal(enum script_answer answer);

#endif
