/* A node of a cluster, without sockets, threads or a clock: answers and times go in, calls and
 * events come out. What it promises is tested with every fault that a network and a server have
 * (spec/cluster/machine_spec.lua).
 *
 * One server numbers, keeps and distributes the events of all nodes: each is an entry of its
 * feed, one number after the other. A node releases nothing but what it has read there, its own
 * events too: so all nodes have one order.
 *
 *     AWAY --dial--> PROVING --join--> CATCHING UP --pos is the head of the join--> LIVE
 *       ^---------- anything breaks: hang up, and dial again after a pause ----------'
 *
 * Numbers. Within an epoch each entry has the number after the one before it, so a hole is seen
 * at once: the feed was trimmed before it was read, and histories, which go back further, are
 * loaded. An epoch ends when nobody can say that nothing of it was lost: the server is another
 * process, or another copy, than the one that numbered last. The next epoch begins far above,
 * with an entry that says up to where the last one survived (its base; see fan/lineage.h).
 *
 * Publishes. Each has a token. When a connection breaks, those on their way are in doubt. The
 * next join fences the old connection off: what it stored is in the feed up to the head of that
 * join. When the node has read so far, those it has read are answered, and the others were
 * never stored: they are sent again, in order. Only a hole in between leaves one unknown.
 *
 * The lead. What is to be done once in the cluster is done by the node that leads. It has a lease, of
 * CLUSTER_LEASE_MS, which each of its beats renews, and a token, which rises with each one that
 * begins. It stops before its own reckoning ends, from when it had asked: so it has stopped when
 * another one begins, also when no answer came. What it publishes carries the token, and the server
 * refuses that of one that leads no more, or is about to. After a new epoch nobody leads for as long
 * as a lease: the server may have forgotten who did. Nor does a node lead whose app does not answer: it
 * gives the lead up, and asks for none until the app is back.
 *
 * Channels. A node keeps what somebody here follows (warm). The first follower has it loaded;
 * the load says at which number it was made, and is shown when the node has read so far.
 *
 * [one thread; no call of 'ops' may call back] */
#ifndef SLUICE_CLUSTER_MACHINE_H
#define SLUICE_CLUSTER_MACHINE_H

#include "base/list.h"
#include "base/map.h"
#include "cluster/recent.h"
#include "fan/lineage.h"

enum machine_state { MACHINE_AWAY, MACHINE_PROVING, MACHINE_CATCHING_UP, MACHINE_LIVE };

/* ---- What is said to the server -------------------------------------------------------- */

/* One publish: of its caller, who has it back with the answer. */
struct cluster_publish {
    struct list node;     /* the machine's, as all but the channel and the bytes */
    struct slice channel; /* of the caller's */
    bool is_state;  /* ... or a notice, whose losses no mark tells of: it is sent anew */
    uint32_t bytes; /* ... about what it takes in a call */
    uint64_t token; /* its name in this run of this node */
    uint64_t lease; /* of the caller's: for who leads with this token; 0: for anybody */
    uint64_t seq;   /* its number; 0: none yet */
    bool deposed;   /* refused: that one leads no more */
    bool repeats;   /* it was stored before: its idempotency key says so */
    bool durable;   /* of the caller's: answered when it is kept */
    bool blind;     /* entries were passed over, and it may be one of them */
    int64_t since_ms; /* of its number, or of its place in the queue */
};

enum cluster_call_kind {
    CALL_JOIN,
    CALL_PUBLISH,
    CALL_LOAD,
    CALL_MARK,
    CALL_BEAT,
    CALL_KEEP,
    CALL_PAGE
};

/* A part of a history, for a reader of it: of its caller, who has it back with the answer. */
struct cluster_page {
    struct list node; /* the machine's */
};

/* A script on the server. All go through one connection, in their order. Each but CALL_JOIN proves
 * itself: where the server has another epoch, fence or replid, or a newest number below 'known', it
 * does nothing and says which. */
struct cluster_call {
    enum cluster_call_kind kind;
    unsigned tag;               /* for its answer */
    const char *slot;           /* names this run of this node, in the whole cluster */
    const char *epoch;          /* ours; "" before the first join */
    const char *fence, *replid; /* of the last join */
    uint64_t known;             /* a number that was surely given */
    const char *new_epoch;      /* CALL_JOIN: should it have to begin one */
    unsigned n;
    struct cluster_publish *const *publishes; /* CALL_PUBLISH */
    const struct slice *channels; /* CALL_LOAD; CALL_MARK: none: a mark for all of them */
    struct cluster_page *page;    /* CALL_PAGE */
    uint64_t since_ms; /* CALL_MARK: ago: nothing that is lost was known later */
    bool would_lead;   /* CALL_BEAT: false: it gives up the lead where it has it */
};

enum cluster_refusal {
    REFUSED_NOT,
    REFUSED_LINEAGE, /* its proof does not hold: join again */
    REFUSED_WRITES,  /* the server takes none: nothing is stored now */
    REFUSED_FULL,    /* out of memory: nothing is stored now */
    REFUSED_STORE,   /* it may be there, and nobody vouches for that */
    REFUSED_OTHER    /* what the call asks for cannot be done */
};

struct cluster_number {
    uint64_t seq;
    bool repeats;
    bool deposed; /* not stored: its lease is not there any more */
    bool unmet;   /* not stored: not what it expected was there */
};

/* Who leads. */
struct cluster_lead {
    struct slice slot; /* empty: nobody */
    uint64_t token;
    int64_t left_ms; /* so long nobody else can */
};

/* What the server has of a channel: the newest number of all at that moment, the newest of the
 * channel, and the rest, which the machine hands to ops.fill or ops.drop. */
struct cluster_loaded {
    uint64_t upto, last;
    void *fill;
};

/* The answer to a call. */
struct cluster_reply {
    enum cluster_refusal refused;
    uint64_t seq;      /* all but CALL_PUBLISH: the newest number at that moment */
    uint64_t mark;     /* CALL_JOIN, CALL_BEAT: the number of the newest mark for all */
    const char *epoch; /* CALL_JOIN */
    const char *fence, *replid;           /* CALL_JOIN: the server's, at that moment */
    struct slice lineage;                 /* CALL_JOIN: as lineage_read has it */
    bool took;                            /* CALL_JOIN: it began the epoch */
    bool reaped;                          /* CALL_JOIN: it was taken for dead */
    struct cluster_lead lead;             /* CALL_BEAT */
    uint64_t age_ms;                      /* CALL_JOIN: of the epoch */
    const struct cluster_number *numbers; /* CALL_PUBLISH: one for each */
    const struct cluster_loaded *loaded;  /* CALL_LOAD: one for each */
    const void *page;                     /* CALL_PAGE: for ops.page */
};

/* ---- What is read ---------------------------------------------------------------------- */

enum cluster_entry_kind {
    ENTRY_EVENT,
    ENTRY_MARK, /* readers of its channel (none: of all) are told that something is lost */
    ENTRY_EPOCH,
    ENTRY_NOTICE, /* for the owner; of no channel */
    ENTRY_OTHER   /* has a number, and that is all */
};

/* An entry of the feed; borrowed. */
struct cluster_entry {
    enum cluster_entry_kind kind;
    uint64_t seq;
    struct slice channel;
    bool is_state;
    bool chained;      /* 'before' is exact */
    uint64_t before;   /* the number of the log's event before it */
    struct slice slot; /* of the node that published it, and its token there */
    uint64_t token;
    const char *epoch, *ended; /* ENTRY_EPOCH: which begins, which has ended */
    uint64_t base;             /* ... and up to where that survived */
    void *event;               /* what the owner makes of it */
};

enum cluster_taken {
    ENTRY_TAKEN,
    ENTRY_LATER, /* not taken: the same one again, after the next answer or some time */
    ENTRY_STOP   /* not taken: what was read goes; ops.follow says from where again */
};

/* ---- What it does ---------------------------------------------------------------------- */

struct machine_ops {
    /* Connect anew: machine_dialled or machine_broken follows. */
    void (*dial)(void *owner);
    /* Close all connections: what was called is not answered any more. */
    void (*hang_up)(void *owner);
    /* Answered by machine_reply (borrows). */
    void (*call)(void *owner, const struct cluster_call *call);
    /* Read the feed from behind this number on. Each entry goes to machine_entry, and when there
     * was none for a second, machine_idle is called. */
    void (*follow)(void *owner, uint64_t pos);
    /* An event or a mark of a warm channel, a mark for all, or a notice. False: no room; it comes
     * again. */
    bool (*release)(void *owner, const struct cluster_entry *e);
    /* What was loaded is shown, in place of what was there before (takes): with 'lost' whoever
     * has followed the channel is told so. Where 'more' follow, that is at one moment. */
    void (*fill)(void *owner, struct slice channel, void *fill, bool lost, bool more);
    /* A page is here (gives it back): what its answer had (borrows). */
    void (*page)(void *owner, struct cluster_page *p, const void *read);
    /* An entry goes behind what was loaded. */
    void (*add)(void *owner, void *fill, const struct cluster_entry *e);
    void (*drop)(void *owner, void *fill); /* takes */
    /* It has an epoch now, its first or another one. Whatever is above 'base' goes, and who
     * follows a log is told "failover". 0: all of it goes; UINT64_MAX: nothing, it is the first.
     * Which one: machine->epoch, ->lineage, ->pos. */
    void (*epoch)(void *owner, uint64_t base);
    /* Entries were passed over that are in no history: notices may be among them. */
    void (*missed)(void *owner);
    /* It was taken for dead by the others: what was to go with it is gone. */
    void (*reaped)(void *owner);
    /* A publish is done (gives it back). 0: it has a number; E_BUSY, E_AWAY, E_REFUSED, E_MEMORY,
     * E_STORE: it is surely not stored; E_TIMEOUT: nobody knows. */
    void (*answer)(void *owner, struct cluster_publish *p, int err);
    /* The state is another one; or machine_heard is. */
    void (*changed)(void *owner);
    /* It leads from here on, or no more: see machine_leads. */
    void (*lead)(void *owner);
    /* When its app has answered last, by the clock of machine_clock; NULL: it does always. */
    int64_t (*answered)(void *owner);
};

/* What an operator looks at. */
struct machine_counts {
    uint64_t published, refused, unknown, resent; /* publishes */
    uint64_t busy, full,
        unkept; /* ... of those that were refused: EBUSY, EFULL, ESTORE */
    uint64_t holes, loads, epochs, marks, joins;
    uint64_t cold; /* entries that nobody here follows */
};

/* ---- The machine ----------------------------------------------------------------------- */

/* When what is durable is kept, by what its owner knows of the server. */
enum machine_keep {
    KEEP_NOT,       /* it is not: such publishes are refused */
    KEEP_BY_ANSWER, /* as soon as there is an answer */
    KEEP_BY_CALL    /* when CALL_KEEP, which comes behind, is answered */
};

struct machine_sent { /* a call that is not answered */
    bool used;
    enum cluster_call_kind kind;
    unsigned n;
    uint64_t era; /* loads of an earlier one are void */
    int64_t at_ms;
    uint64_t known; /* what the server had by then */
    uint64_t tokens[CLUSTER_BATCH_MAX];
    struct warm *warm[CLUSTER_LOAD_MAX]; /* NULL: it is not wanted any more */
    struct cluster_page *page;
};

struct lead {
    bool gives_up;   /* it would not */
    bool asks;       /* the last beat did */
    uint64_t token;  /* it leads; 0: it does not */
    int64_t till_ms; /* ... up to then */
    int64_t free_ms; /* when another one's lease ends, as far as it knows */
    uint64_t leader_token;
    char leader[CLUSTER_SLOT_LENGTH + 1]; /* "": nobody, or not known */
};

struct machine {
    const struct machine_ops *ops;
    void *owner;
    uint64_t random;
    int64_t now_ms;
    enum machine_state state;
    struct machine_counts counts;
    /* The numbering. */
    char slot[CLUSTER_SLOT_LENGTH + 1];
    char epoch[EPOCH_LENGTH + 1];
    struct lineage lineage;
    uint64_t pos;   /* read up to here */
    uint64_t known; /* surely given */
    uint64_t mark;  /* the newest mark for all channels */
    struct recent recent;
    /* The connection. */
    char replid[CLUSTER_REPLID_LENGTH + 1];
    char fence[CLUSTER_FENCE_MAX + 1], new_epoch[EPOCH_LENGTH + 1];
    uint64_t joined; /* the head of the join */
    int64_t joined_ms;
    bool dialled; /* dial, or more, is under way */
    bool silent;  /* it hangs up because no answer came */
    unsigned failures;
    int64_t dial_ms, away_ms; /* when to dial; since when it is not live (0: it is) */
    int64_t fed_ms, beat_ms;  /* when the feed was heard last; the last beat */
    struct machine_sent sent[CLUSTER_CALLS_MAX]; /* by tag */
    unsigned n_sent, n_batches, n_loads;
    bool marking, beating; /* such a call is under way */
    int64_t mark_ms;       /* the last mark */
    uint64_t beats, heard; /* the last one sent; the last one answered */
    uint64_t wanted_beat;  /* ... and the one that somebody waits for */
    uint64_t jump;         /* the one that says where to go on behind a hole; 0: none */
    struct lead lead;
    /* Publishes, in their order. */
    struct list queue, flight, doubt;
    struct list unkept,
        keeping; /* done, and durable: to be kept; as a call says that is under way */
    enum machine_keep keep;
    bool full;      /* the last ones found no memory: beats ask whether there is some */
    uint64_t token; /* the last one */
    bool resolving; /* the doubt ends when pos is the head of the join */
    unsigned n_publishes;
    uint64_t publish_bytes;
    /* Channels. */
    struct map warm;
    struct list wanted, asked, held; /* not loaded, being loaded, not shown yet */
    struct list pages, paging;       /* not asked for, and under way, in their order */
    unsigned n_paging;
    uint64_t era;
    unsigned n_whole; /* of all those behind a hole: not loaded */
    bool whole;       /* ... and they are shown at one moment */
    uint64_t hold;    /* ... which is not below this number */
};

/* 'slot' names this run of this node and no other: CLUSTER_SLOT_LENGTH characters. */
void machine_init(struct machine *m, const struct machine_ops *ops, void *owner,
                  const char *slot, uint64_t seed);
void machine_deinit(struct machine *m); /* drops what it holds; nothing is answered */

/* The time (monotonic ms that go on while the machine sleeps), before anything else in a turn;
 * and when it wants to be told again. */
void machine_clock(struct machine *m, int64_t now_ms);
int64_t machine_next(const struct machine *m);

/* ---- In ---------------------------------------------------------------------------------- */

void machine_dialled(struct machine *m); /* connected to a master */
void machine_broken(struct machine *m);  /* a connection is gone, or was not made */
void machine_reply(struct machine *m, unsigned tag, const struct cluster_reply *reply);
/* False for an answer (that is no refusal) of which no server is capable that keeps what it has numbered: it
 * is behind what it had, or gives a number twice. */
bool machine_believes(const struct machine *m, unsigned tag,
                      const struct cluster_reply *reply);
enum cluster_taken machine_entry(struct machine *m, const struct cluster_entry *e);
void machine_idle(struct machine *m); /* nothing to read for a second */

void machine_keeps(struct machine *m, enum machine_keep how);

/* Publish (takes it until ops.answer, which may be at once). It waits for others to go with it: flush
 * when no more are to come in this turn. */
void machine_publish(struct machine *m, struct cluster_publish *p);
void machine_flush(struct machine *m);

/* Follow a channel: true: it is shown already, else ops.fill will. Let go of it. */
bool machine_warm(struct machine *m, struct slice channel);
bool machine_is_warm(const struct machine *m, struct slice channel);
void machine_cool(struct machine *m, struct slice channel);

/* Read a page (takes it until ops.page): while the server is away it waits. It is of the epoch in which it is
 * answered: whoever asked in another one does not want it any more. */
void machine_page(struct machine *m, struct cluster_page *p);

/* Load all that is followed anew: ops.fill will, at one moment. False: nothing is. */
bool machine_reload(struct machine *m);

/* ---- The lead ---------------------------------------------------------------------------- */

/* Its token, when it leads now; 0. */
static inline uint64_t machine_leads(const struct machine *m) {
    return m->now_ms < m->lead.till_ms ? m->lead.token : 0;
}

/* Somebody leads now, as far as it knows. */
static inline bool machine_is_led(const struct machine *m) {
    return m->lead.leader[0] && m->now_ms < m->lead.free_ms;
}

/* It will not lead any more, or would again. At first it would. */
void machine_give_up_lead(struct machine *m, bool gives_up);

/* ---- Judging a place --------------------------------------------------------------------- */

enum machine_verdict {
    PLACE_OURS,     /* it goes on there; what is above pos comes when it is read */
    PLACE_FAILOVER, /* something behind it is lost: it goes on at *place, and is told */
    PLACE_FUTURE,   /* no such number was given */
    PLACE_EPOCH,    /* nobody knows this epoch */
    PLACE_ASK       /* ask first: machine_ask */
};

/* 'asked': a beat that was sent since it came is answered. */
enum machine_verdict machine_judge(const struct machine *m, const char *epoch,
                                   uint64_t seq, bool asked, uint64_t *place);

/* Ask the server: *ticket is reached by machine_heard when it has answered. False: away. */
bool machine_ask(struct machine *m, uint64_t *ticket);
static inline uint64_t machine_heard(const struct machine *m) {
    return m->heard;
}

#endif
