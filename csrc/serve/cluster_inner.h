/* What the files of the cluster's thread share: cluster.c has the thread, events and publishes;
 * cluster_channels.c channels and places; cluster_pages.c parts of histories; cluster_notices.c what
 * nodes tell each other; cluster_leases.c what goes with this node; cluster_told.c what whoever runs
 * it is told. */
#ifndef SLUICE_SERVE_CLUSTER_INNER_H
#define SLUICE_SERVE_CLUSTER_INNER_H

#include "base/named.h"
#include "fan/history.h"
#include "serve/cluster.h"
#include "serve/cluster_news.h"

#define APP_LANE 31 /* above IO_THREADS_MAX */

/* How one I/O thread gets at pages. */
struct cluster_history {
    struct fan_history history;
    struct cluster *cluster;
    struct lane *lane;
};

/* A channel that a thread follows, or followed not long ago. */
struct followed {
    struct named named;
    struct list idle;              /* in cluster->idle while none does */
    uint32_t lanes;                /* bits: those that do; APP_LANE: it is never let go */
    int64_t idle_ms;               /* since when none does */
    uint64_t encoded;              /* bytes of lines before the next one: for lags */
    struct follow_message *wanted; /* the app waits for it; NULL */
    bool has_events;               /* some came here, or were loaded */
    bool is_heard;                 /* the app is told of each event */
    unsigned version;              /* of the policies that the next two are of */
    enum channel_kind kind, loaded_as;
    bool patient, local, is_paged, loaded_paged;
};

struct cluster {
    struct hub *hub;
    struct loop loop;
    pthread_t thread;
    bool runs, has_thread;   /* [app] */
    _Atomic bool is_reached; /* it was live once */
    struct node *node;
    struct map followed;   /* struct named */
    struct list idle;      /* struct followed, in the order in which they are looked at */
    struct messages asked; /* [app] publishes of this turn */
    struct list publishes; /* that are out */
    struct messages answers; /* ... that are answered in this turn */
    struct list places;      /* struct place_message: not judged yet */
    struct list pages;       /* that are asked for */
    struct cluster_history histories[IO_THREADS_MAX];
    struct cluster_news *fills;
    struct ev_prepare before_sleep;
    struct ev_timer tick;
    int64_t ticked_ms;  /* in a rehearsal, in its place */
    uint64_t reaped;    /* dead nodes that the log has */
    uint64_t conflicts; /* events of another kind than their channel has here */
    bool has_changed;
    bool released;    /* something, in this turn */
    bool reloads;     /* all fills, for the app, which has missed events */
    bool owes_leases; /* they are to be said again */
    bool has_missed;  /* notices; and the app was not told yet */
    bool is_live;     /* as of the last line in the log */
    _Atomic uint32_t notices, notices_bytes; /* that the app has not taken */
    char told[LINK_WHY_MAX];
    uint32_t unlike_ticks;      /* for how long some nodes have other channels */
    char refusal[LINK_WHY_MAX]; /* Redis takes no writes; "": it does */
    pthread_mutex_t order; /* held while one event is released, or the policies change */
    char rules[20];        /* a digest of the ttls of version 'ruled' */
    unsigned ruled;
    struct policy_set *policies; /* under it */
    unsigned version;            /* ... rises with them */
    struct list changes; /* ... struct policies_message: this thread has not taken them */
    _Atomic int64_t away_ms;    /* clock_ms: since when it is not live; 0: it is */
    _Atomic int64_t refused_ms; /* ... it can neither publish nor lead; 0: it can */
    pthread_mutex_t lock;       /* of what follows */
    pthread_cond_t settled;
    bool is_settled, is_refused;
    char trouble[LINK_WHY_MAX];
    struct cluster_look look;
    /* Of the lead, for all threads: the token, up to when, and Redis' clock before ours. */
    _Atomic uint64_t lead;
    _Atomic int64_t lead_till_ms, ahead_ms;
    _Atomic int64_t answered_ms; /* clock_boot_ms: the app has shown that it lives */
    struct buf marks;            /* of the nodes that were seen lately */
    _Atomic uint8_t leased[LEASED_BYTES]; /* bits: see cluster_leases.c */
};

struct followed *cluster_find(const struct cluster *c, struct slice channel); /* NULL */

/* What the policies, which are held, say of it. */
void cluster_look_up(const struct cluster *c, struct followed *f);

/* What the policy of a channel is now. */
struct policy cluster_policy(struct cluster *c, struct slice channel);

/* Of struct node_calls; it is live, perhaps for the first time; whether it is, for the log; and what
 * is wrong now, or "". */
void cluster_on_tell(void *owner, const char *why, bool refused);
void cluster_on_refuses(void *owner, const char *why, bool leads);
void cluster_note_reached(struct cluster *c);
void cluster_tell_state(struct cluster *c);
void cluster_say_unlike(struct cluster *c); /* with each tick */
const char *cluster_trouble_now(const struct cluster *c);

/* News for all replicas (takes). */
void cluster_post(struct cluster *c, struct cluster_news *n);

/* What filled them has been posted: the app hears of those it waits for. */
void cluster_tell_filled(struct cluster *c, const struct cluster_news *n);

/* The app hears how it stands, behind what that changes. */
void cluster_tell_app(struct cluster *c);

void cluster_on_lead(void *owner); /* of struct node_calls */
int64_t cluster_on_answered(void *owner);
void cluster_note_lead(struct cluster *c); /* a lease was renewed, or is over */

/* A page has come (struct node_calls); and those that will not come are answered. */
void cluster_on_page(void *owner, struct node_page *inner,
                     const struct script_paged *read);
void cluster_drop_pages(struct cluster *c);

void cluster_cool_idle(struct cluster *c);
void cluster_judge_all(struct cluster *c);
void cluster_free_channels(struct cluster *c);

/* A notice for the app, in its order; what is no notice (NULL): some were missed. */
void cluster_pass_notice(struct cluster *c, const struct entry *e);

/* For the app, in the same order: an event of a channel that it hears, and that such a channel was
 * loaded: whatever was published may have been missed. */
void cluster_pass_event(struct cluster *c, const struct entry *e);
void cluster_pass_loaded(struct cluster *c, struct slice channel);

void cluster_say_reaped(
    struct cluster *c); /* ... what was to go with this node is gone */
void cluster_say_missed(struct cluster *c); /* when there is room for that again */

/* What is answered goes to the app before the end of the turn. */
void cluster_post_answers(struct cluster *c);

void cluster_on_read(void *owner, const struct entry *e); /* of struct node_calls */
void cluster_owe_leases(struct cluster *c); /* they are to be said again, ... */
void cluster_say_leases(struct cluster *c); /* ... which may be possible now */

/* A place that cannot wait any longer. */
void cluster_answer_place(struct cluster *c, struct place_message *m);

#endif
