/* A node at work: its machine (machine.h) on a link to a real server (link.h).
 *
 * Everything runs on the thread of the loop that it was given; no call waits. What its owner is
 * told is what the machine decided, in order: events of warm channels, loaded channels, other
 * epochs, answers. [one thread] */
#ifndef SLUICE_CLUSTER_NODE_H
#define SLUICE_CLUSTER_NODE_H

#include "cluster/fill.h"
#include "cluster/link.h"
#include "cluster/machine.h"

/* One event to publish: of its caller, who has it back with the answer, and keeps its texts until
 * then. 'token' is the node's. */
struct node_publish {
    struct cluster_publish publish;
    struct script_event event;
    char token[24];
    /* The answer, where its idempotency key was used before: in which epoch its number is, and
     * the mark of what was asked then. */
    char epoch[EPOCH_LENGTH + 1];
    uint32_t crc;
};

/* A part of a history (script_page): of its caller, who has it back with the answer, and keeps its channel's
 * name until then. */
struct node_page {
    struct cluster_page page;
    struct script_page ask;
};

/* How a channel is kept. */
struct node_policy {
    char kind; /* 'l' log, 'k' keyed log, 's' state */
    uint32_t history, ttl_s;
    bool is_paged; /* of its history only the newest is loaded (fill.h) */
};

struct node_calls {
    struct node_policy (*policy)(void *owner, struct slice channel);
    /* A digest of the ttls of all channels (script_join). NULL: it is not told. */
    const char *(*rules)(void *owner);
    /* An event or a mark of a warm channel, a mark for all of them, or a notice (borrowed).
     * False: no room; it comes again. */
    bool (*release)(void *owner, const struct entry *e);
    /* A newest value was read, of any channel, perhaps not for the first time (borrowed). NULL: it does not
     * matter. */
    void (*read)(void *owner, const struct entry *e);
    /* See machine_ops.fill (takes). */
    void (*fill)(void *owner, struct fill *f, bool lost, bool more);
    /* A page is here; NULL: none is asked for. Its entries make sense, and rise (borrows). */
    void (*page)(void *owner, struct node_page *p, const struct script_paged *read);
    void (*epoch)(void *owner, uint64_t base); /* see machine_ops.epoch */
    void (*missed)(void *owner);               /* see machine_ops.missed */
    void (*reaped)(void *owner);
    void (*answer)(void *owner, struct node_publish *p, int err);
    void (*changed)(void *owner);     /* its state, or machine_heard */
    void (*lead)(void *owner);        /* see machine_ops.lead; NULL: it does not matter */
    int64_t (*answered)(void *owner); /* see machine_ops.answered; NULL: it does always */
    /* The server is away, or cannot be used ('refused'), and why; a warning ('why' alone). */
    void (*tell)(void *owner, const char *why, bool refused);
    /* The server is there and takes no writes, and why; "": it does again; NULL: nobody knows,
     * it is away. 'leads': events alone, so that somebody leads. */
    void (*refuses)(void *owner, const char *why, bool leads);
};

struct node_options {
    struct link_options link;
    const char *label; /* of this node, for people */
    uint64_t seed;
    uint32_t feed_events; /* that the feed keeps; 0: as it is */
};

struct node;

/* Owned. Copies the options; begins to dial. 0, or E_INVAL when this build cannot. */
int node_new(struct node **out, struct loop *loop, const struct node_options *o,
             const struct node_calls *calls, void *owner);
void node_free(struct node *n); /* answers nothing */

/* To look at, and for machine_judge and machine_is_warm. */
const struct machine *node_machine(const struct node *n);

/* Takes until calls.answer. Publishes of a turn go together: flush at its end. */
void node_publish(struct node *n, struct node_publish *p);
void node_flush(struct node *n);
bool node_warm(struct node *n, struct slice channel); /* see machine_warm */
void node_cool(struct node *n, struct slice channel);
bool node_reload(struct node *n);                      /* see machine_reload */
void node_page(struct node *n, struct node_page *p);   /* see machine_page */
bool node_ask(struct node *n, uint64_t *ticket);       /* see machine_ask */
void node_give_up_lead(struct node *n, bool gives_up); /* see machine_give_up_lead */

/* By hand (see link_options): its link, what is due by now, and when something is next, in ms of
 * clock_boot_ms. */
struct link *node_link(const struct node *n);
void node_step(struct node *n);
int64_t node_next(const struct node *n);

/* What an operator looks at, beside machine_counts. */
struct node_figures {
    uint64_t bad_entries;  /* of the feed: they made no sense, and were passed over */
    uint64_t evictions;    /* how often the server was found to have deleted keys */
    uint64_t reaped;       /* nodes that this one found to be dead, while it led */
    int64_t round_trip_us; /* of the last beat */
    int64_t read_lag_ms;   /* of the last entry: from the server to here */
};

const struct node_figures *node_figures(const struct node *n);

/* The server's clock, in ms since 1970, as far as it is known. */
int64_t node_time_ms(const struct node *n);

/* What it is called, and who was seen lately with channels of other names or ttls ("n2, n3"; ""). */
const char *node_label(const struct node *n);
const char *node_began_by(const struct node *n); /* the epoch; "": nobody says */
const char *node_unlike(const struct node *n);

/* How many nodes of this cluster were seen lately, and how their slots begin: so do the ids of
 * their clients. */
uint32_t node_count(const struct node *n);
struct slice node_marks(const struct node *n); /* CLUSTER_MARK_LENGTH characters each */

#endif
