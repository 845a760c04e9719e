/* The scripts that run inside Redis, which make one step of what must not be taken apart; how they
 * are asked, and what they answer.
 *
 *   join   prove or renew the epoch, raise this node's fence    beat   each second: the proof, this
 *   pub    number and keep events                                      node's row, the time
 *   load   history, newest values and floor of channels         head   the proof, and the head
 *   page   a part of a history, for who reads it from there
 *   mark   say in a log that events of it were lost             probe  commands that are denied
 *
 * All but join and probe begin with the same proof: this is a master, and still the process, the epoch
 * and the fence that a join has shown, and it has not fallen behind what this node knows. A refusal
 * means that nothing was done. The texts stand in scripts.c, for a server that is real or
 * simulated. Keys: doc comment there. Functions that write a command append it to 'out': 0 or
 * E_NOMEM. [any thread] */
#ifndef SLUICE_CLUSTER_SCRIPTS_H
#define SLUICE_CLUSTER_SCRIPTS_H

#include "cluster/resp.h"

#include <stdbool.h>
#include <stdint.h>

#define CLUSTER_NAME_MAX 32
#define SCRIPT_WORD_MAX 32  /* of an epoch, a fence, a slot */
#define SCRIPT_ID_MAX 40    /* of a run id and a replication id, in hex */
#define SCRIPT_BATCH_MAX 64 /* events of a pub, channels of a load or a mark */

enum script {
    SCRIPT_JOIN,
    SCRIPT_PUB,
    SCRIPT_BEAT,
    SCRIPT_LOAD,
    SCRIPT_PAGE,
    SCRIPT_MARK,
    SCRIPT_HEAD,
    SCRIPT_KEEP,
    SCRIPT_PROBE,
    SCRIPTS
};

const char *script_name(enum script s); /* "join" */
const char *script_text(enum script s); /* Lua */

/* What a server was told: where the keys are, and by which digests it knows the scripts (40 hex
 * digits each, as SCRIPT LOAD answered). */
struct scripts {
    char name[CLUSTER_NAME_MAX + 1];
    char sha[SCRIPTS][SCRIPT_ID_MAX + 1];
};

enum script_answer {
    SCRIPT_OK,
    SCRIPT_REPLICA,    /* no master, or no longer; or it is loading its data */
    SCRIPT_REPLID,     /* another history than the one that was joined */
    SCRIPT_EPOCH,      /* another epoch */
    SCRIPT_FENCE,      /* a later join of this slot */
    SCRIPT_BACK,       /* it knows less than this node does */
    SCRIPT_EVICTED,    /* it has deleted keys for want of memory */
    SCRIPT_NEWER,      /* join: its keys are of a newer version of Sluice */
    SCRIPT_OLDER,      /* join: ... of an older one, which wrote them otherwise */
    SCRIPT_OOM,        /* out of memory: nothing was stored */
    SCRIPT_NOREPLICAS, /* too few replicas (min-replicas-to-write): nothing was stored */
    SCRIPT_MISCONF,    /* it cannot save its data: nothing was stored */
    SCRIPT_NOSCRIPT,   /* it has forgotten the script: join anew */
    SCRIPT_WRONGTYPE,  /* a key holds something else: nothing was stored */
    SCRIPT_DENIED,     /* the user may not */
    SCRIPT_FAILED,     /* another error: what happened is unknown */
    SCRIPT_SENSELESS   /* no answer that such a script gives */
};

const char *script_answer_word(enum script_answer a); /* "REPLID"; never NULL */

/* What a join has shown, and each later call proves. */
struct script_proof {
    const char *epoch, *fence, *replid;
    const char *slot; /* this run of this node: drawn at random when it starts */
    uint64_t known;   /* the highest number that this node knows of */
};

/* ---- join --------------------------------------------------------------------------- */

enum script_safe { SAFE_NO, SAFE_YES, SAFE_UNKNOWN }; /* appendfsync is always */

struct script_join {
    const char *slot;
    const char *epoch;     /* its own; "" at first */
    uint64_t known;        /* in that epoch */
    const char *new_epoch; /* drawn at random for each join */
    enum script_safe safe;
    const char *label; /* host and version: for people */
    const char *rules; /* a digest of the ttls of all channels; NULL: not told */
};

struct script_joined {
    char epoch[SCRIPT_WORD_MAX + 1], fence[SCRIPT_WORD_MAX + 1];
    char run[SCRIPT_ID_MAX + 1], replid[SCRIPT_ID_MAX + 1];
    uint64_t seq, mark;
    int64_t now_ms;
    uint64_t age_ms; /* of the epoch */
    bool reaped;     /* it was taken for dead, and what it had is removed */
    bool took;       /* this join began the epoch */
    struct slice
        lineage;     /* "epoch:base,epoch:base", the newest first; borrows the reply */
    struct slice by; /* the label of the node that began the epoch; so does this */
};

int script_join(struct buf *out, const struct scripts *s, const struct script_join *ask);
enum script_answer script_joined(const struct reply *r, struct script_joined *out);

/* ---- pub ---------------------------------------------------------------------------- */

struct script_event {
    char kind; /* 'l' log, 'k' keyed log, 's' state */
    bool remove;
    bool is_judged,
        is_owned; /* of newest values: see expected; it goes when this node dies */
    struct slice channel, event, key, data;
    struct slice token; /* tells it from all others of this slot: "inc.counter" */
    struct slice
        expected; /* is_judged: only when its newest value is this; p NULL: none. With is_owned: none, or
                   * what this node owns; that alone is removed then */
    struct slice idempotency; /* empty: none */
    uint64_t lease;           /* the token of who leads, for which alone it is; 0: none */
    uint32_t crc;             /* ... of what was asked */
    uint32_t history, ttl_s, keys_max;
    int64_t expires_ms; /* 0: never */
};

/* At most SCRIPT_BATCH_MAX. */
int script_pub(struct buf *out, const struct scripts *s, const struct script_proof *p,
               const struct script_event *events, uint32_t n);

struct script_place {
    uint64_t seq;
    bool is_deposed; /* its lease is over: it was not stored */
    bool is_unmet;   /* not what was expected was there: it was not stored */
    bool is_repeat;  /* the idempotency key had an event: */
    char epoch[SCRIPT_WORD_MAX + 1]; /* ... its epoch */
    uint32_t crc;                    /* ... and what was asked then */
};
/* For n events; SCRIPT_OK: all have a place. */
enum script_answer script_published(const struct reply *r, struct script_place *out,
                                    uint32_t n);

/* ---- beat, head ----------------------------------------------------------------------- */

struct script_beat {
    const char *label;
    enum script_safe safe;
    uint32_t feed_events; /* that the feed keeps; 0: as it is */
    const char *rules;    /* as in a join */
    bool would_lead;      /* false: it gives up the lead where it has it */
    bool reaps;           /* ... what dead nodes have is removed */
};

struct script_now {
    uint64_t seq, mark;
    int64_t now_ms;
    uint32_t nodes;      /* beat: that beat lately, */
    struct slice slots;  /* ... and theirs, between spaces; borrows the reply */
    struct slice unlike; /* beat: the labels of nodes with other rules; borrows */
    uint32_t reaped;     /* beat: nodes that were found to be dead by it */
    /* beat: the slot that leads, "": none; its token; and for how long nobody else can. */
    char leader[SCRIPT_WORD_MAX + 1];
    uint64_t lease;
    int64_t lease_ms;
};

int script_beat(struct buf *out, const struct scripts *s, const struct script_proof *p,
                const struct script_beat *ask);
/* A write behind all that was answered, for who waits until it is kept. Answered as head. */
int script_keep(struct buf *out, const struct scripts *s, const struct script_proof *p);
int script_head(struct buf *out, const struct scripts *s, const struct script_proof *p);
/* Of both, and of mark. */
enum script_answer script_now(const struct reply *r, struct script_now *out);

/* ---- load ----------------------------------------------------------------------------- */

/* A page of a channel: the first has before = 0 and cursor = "0". */
struct script_load {
    struct slice channel;
    char kind;
    uint32_t ttl_s;
    uint64_t before; /* entries of the history below it; 1: none (they are there) */
    struct slice
        cursor; /* newest values: as the page before said; "": none (they are there) */
};

int script_load(struct buf *out, const struct scripts *s, const struct script_proof *p,
                const struct script_load *channels, uint32_t n);

/* What came; all of it borrows the reply. Entries and values: entry.h. */
struct script_loaded {
    uint64_t
        floor; /* nothing above it is missing in 'history'; of several pages: the least */
    uint64_t last;               /* the number of the newest event; 0: not known */
    uint64_t before;             /* more of the history is there, below it; 0: no more */
    struct slice cursor;         /* more of the values is there; "0": no more */
    const struct reply *history; /* a list of entries, the oldest first */
    const struct reply *values;  /* a list of field, value, field, value, ... */
};

/* The moment of the load in 'now'. *n channels were asked for; it becomes how many were answered, at
 * least one: ask for the others again. Values of later pages may be newer or removed meanwhile: what the
 * feed says above now->seq of the first page decides, by number. */
enum script_answer script_loaded(const struct reply *r, struct script_now *now,
                                 struct script_loaded *out, uint32_t *n);

/* ---- page ----------------------------------------------------------------------------- */

/* Events of a log above 'above', up to and including 'upto'; so many, of so many bytes, and one at least.
 * With newest > 0 above all but so many of those up to 'joined'; UINT32_MAX: above the floor. */
struct script_page {
    struct slice channel;
    uint64_t above, upto, joined;
    uint32_t newest, events, bytes;
};

int script_page(struct buf *out, const struct scripts *s, const struct script_proof *p,
                const struct script_page *ask);

/* What came; it borrows the reply. */
struct script_paged {
    uint64_t floor; /* the highest number that is gone, at the same moment */
    uint64_t above; /* where the page begins: not below the floor, where that was asked */
    uint64_t given; /* all that is there up to here is in it */
    const struct reply *history; /* a list of entries, rising; marks too */
};

enum script_answer script_paged(const struct reply *r, struct script_paged *out);

/* ---- mark ----------------------------------------------------------------------------- */

struct script_mark {
    struct slice channel;
    uint32_t ttl_s, history;
    uint64_t since_ms; /* ago: no later is what is lost: a younger mark tells of it */
};

/* Logs and keyed logs of which events are lost; n = 0: one mark for all there are. */
int script_mark(struct buf *out, const struct scripts *s, const struct script_proof *p,
                const struct script_mark *channels, uint32_t n);

/* ---- The feed ------------------------------------------------------------------------- */

/* XREAD: up to 'count' entries above 'after', or nothing after 'block_ms'. */
int script_follow(struct buf *out, const struct scripts *s, uint64_t after,
                  uint32_t count, uint32_t block_ms);
/* The list of entries of its reply, each for entry_of_feed; *n = 0 when nothing came. */
enum script_answer script_followed(const struct reply *r, const struct reply **entries,
                                   uint32_t *n);

/* ---- probe ---------------------------------------------------------------------------- */

/* Wait for so many replicas, or with none for the disk, so long; and how many there were of either (0: an
 * error). */
int script_wait(struct buf *out, uint32_t replicas, uint32_t wait_ms);
uint64_t script_waited(const struct reply *r);

int script_probe(struct buf *out, const struct scripts *s);

/* Any answer that is no refusal is SCRIPT_OK. */
enum script_answer script_answer(const struct reply *r);

#endif
