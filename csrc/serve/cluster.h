/* The cluster's thread: this server as one of several nodes that share one log in Redis.
 *
 *   app thread      cluster_publish ──▶                       ──▶ app_on_published, with its answer
 *                                       node (csrc/cluster),
 *   Redis           ◀── scripts ──      a thread of its own   ── feed ──▶ the sequencer
 *                                            ▲                               │ events, cluster_news
 *   I/O threads     cluster_follow ──────────┘                               ▼ all replicas
 *
 * All channels are shared, but for local ones (policy->local), of which this thread knows nothing:
 * the app's publishes those by itself. Numbers come from Redis, and every replica gets an event when this node
 * has read it in the feed, its own too: the order is the same on all nodes. Only channels that somebody
 * here follows are held; an I/O thread asks for one before its first subscriber, and has it with
 * the news that fill it (io/follow.h). A script that hangs stops neither the feed nor the proof that
 * this node is there. */
#ifndef SLUICE_SERVE_CLUSTER_H
#define SLUICE_SERVE_CLUSTER_H

#include "cluster/node.h"
#include "fan/eventid.h"
#include "fan/policy.h"
#include "serve/hub.h"

struct cluster;
struct fan_history;

/* ---- Life [app] ----------------------------------------------------------------------- */

/* Begin to dial (copies the options); its thread runs from cluster_run on. 0 or a code. */
int cluster_open(struct cluster **out, struct hub *hub, const struct node_options *o);

/* Start the thread, and wait a moment for Redis: 0, also when it is away; -errno; E_CONNECT: Redis
 * is there and cannot be used, cluster_trouble says why. */
int cluster_run(struct cluster *c);
const char *cluster_trouble(const struct cluster *c);

/* In a rehearsal it has no thread: do what is due, and say whether there was something; when
 * something is next, in ms of clock_ms; and its node, whose Redis is a test (cluster/link.h). */
bool cluster_step(struct cluster *c);
int64_t cluster_next(const struct cluster *c);
struct node *cluster_node(const struct cluster *c);

/* The thread ends, and each publish that is out comes back with E_TIMEOUT. Idempotent. */
void cluster_close(struct cluster *c);
void cluster_free(struct cluster *c); /* takes a closed one; NULL is fine */

/* How long Redis keeps what has such a policy; ten years when it does not age. [any thread] */
uint32_t cluster_ttl_s(const struct policy *p);

/* Other policies: no event is released between the two calls, in which all replicas get them (shares). */
void cluster_hold(struct cluster *c, struct policy_set *policies);
void cluster_let_go(struct cluster *c);

/* ---- Publishing [app] ------------------------------------------------------------------ */

/* Its caller's until cluster_publish, and from app_on_published on. */
struct shared_publish {
    struct message message;
    struct list node; /* [cluster] */
    struct node_publish inner;
    int64_t lives_ms; /* of its event; 0: as its channel says */
    uint64_t ticket, channel_hash;
    int err;
    char bytes[]; /* the texts of inner.event */
};

/* It goes with the others of its turn, at whose end they are flushed. */
void cluster_publish(struct cluster *c, struct shared_publish *p);
void cluster_flush(struct cluster *c);

/* This key may have a value that goes with this node (cluster_leases.c). */
void cluster_note_lease(struct cluster *c, struct slice channel, struct slice key);

/* What a node has told all, for the app; without a name: some were missed, and what they said is
 * looked up. It is given back when it was looked at. */
struct notice_message {
    struct message message;
    char letter;
    bool is_own; /* it is this node's */
    struct slice name, to, text;
    char bytes[];
};

void cluster_took_notice(struct cluster *c, struct notice_message *m); /* takes */

/* How it stands, when that has changed. */
struct standing_message {
    struct message message;
    bool is_live;
    char epoch[EPOCH_LENGTH + 1];
    uint64_t lead; /* the token with which this node leads; 0: it does not */
};

/* ---- The lead (cluster_lead.c) --------------------------------------------------------- */

/* The token with which this node leads at this moment; 0. [any thread] */
uint64_t cluster_leads(const struct cluster *c);

/* Redis' clock, in ms since 1970, as far as it is known. [any thread] */
int64_t cluster_time_ms(const struct cluster *c);

/* The app lives. Where that is not said for CLUSTER_STUCK_MS another node may lead. [app] */
void cluster_app_answers(struct cluster *c);

/* It stops: another node may lead. [app] */
void cluster_give_up_lead(struct cluster *c);

/* The app reads a channel that nobody follows: news fill it, or app_on_wanted says that they have.
 * It is here for good, or until it was not followed for a while. */
void cluster_want(struct cluster *c, struct slice channel, bool for_good);

/* It is here for good, and the app is told of each of its events (cluster_pass_event). */
void cluster_hear(struct cluster *c, struct slice channel);

/* ---- Channels and places [io] ----------------------------------------------------------- */

/* A channel that a thread follows, or follows no longer. */
struct follow_message {
    struct message message;
    struct lane *lane; /* NULL: the app */
    bool for_good;
    struct slice channel;
    char name[];
};

/* The first subscriber comes: io_on_followed when its channel is here already, else news fill it. */
void cluster_follow(struct cluster *c, struct lane *lane, struct slice channel);
void cluster_leave(struct cluster *c, struct lane *lane, struct slice channel);

/* Whether an id that this node does not know may be one that was given elsewhere. */
struct place_message {
    struct message message;
    struct list node; /* [cluster] */
    struct lane *lane;
    struct eventid id;
    uint64_t ticket; /* [cluster] 0: Redis was not asked yet */
};

/* io_on_judged follows (its sender's from then on): what can be known is known to the thread. */
void cluster_judge(struct cluster *c, struct place_message *m);

/* What the fan of an I/O thread asks for what durable logs have beyond memory: pages from Redis. While that is
 * away they wait. Made once, before its thread runs. [app] */
const struct fan_history *cluster_history(struct cluster *c, struct lane *lane);

/* ---- To look at [any thread] ------------------------------------------------------------ */

struct cluster_look {
    enum machine_state state;
    char epoch[EPOCH_LENGTH + 1], slot[CLUSTER_SLOT_LENGTH + 1];
    uint64_t pos, known;
    struct machine_counts counts;
    struct node_figures figures;
    uint64_t conflicts;
    uint32_t nodes, warm;
    char leader[CLUSTER_SLOT_LENGTH + 1]; /* "": nobody, or not known */
    bool unlike;                          /* some nodes have other channels */
    bool is_led;                          /* somebody leads */
    bool is_writable;                     /* it is live, and Redis takes writes */
    char trouble[LINK_WHY_MAX];           /* what is wrong; "" */
    double away_seconds;                  /* since when it is not live; 0: it is */
};

void cluster_look(struct cluster *c, struct cluster_look *out);

/* How many nodes were seen lately whose clients' ids begin as this one does. */
unsigned cluster_nodes_of(struct cluster *c, struct slice client);

/* Whether Redis is away now. */
bool cluster_is_apart(const struct cluster *c);

/* Whether other nodes were seen lately: who has to leave this one is served there. */
bool cluster_has_others(struct cluster *c);

/* Why new clients had better go to another node: it was never reached, or for more than a moment was
 * away, or takes no writes, so that this node can neither publish nor lead. */
enum cluster_lack { CLUSTER_LACKS_NOTHING, CLUSTER_LACKS_REDIS, CLUSTER_LACKS_WRITES };
enum cluster_lack cluster_lacks(const struct cluster *c);

#endif
