/* The store's own struct, for the files of this folder. The writing side (db, records,
 * group's ops) belongs to the store's thread; what is under the lock says so. */
#ifndef SLUICE_STORE_INNER_H
#define SLUICE_STORE_INNER_H

#include "base/bounds.h"
#include "base/list.h"
#include "store/db.h"
#include "store/folder.h"
#include "store/gather_vfs.h"
#include "store/reader.h"
#include "store/record.h"
#include "store/store.h"

#include <pthread.h>
#include <stdatomic.h>

enum group_result {
    GROUP_FAILED, /* surely nothing of it is in the file */
    GROUP_STORED,
    GROUP_DOUBT
};

struct group {
    struct store_op *ops[STORE_GROUP_MAX]; /* [lock] */
    uint32_t n;                            /* [lock] */
    uint32_t n_written, n_numbers;
    size_t bytes;
    uint64_t first;
    bool
        active; /* [lock] from the first op that was taken to the last that is given back */
    bool late;         /* [lock] */
    int64_t began_us;  /* [lock] */
    int64_t waited_us; /* for ops that may join it */
    int64_t due_us;    /* without threads */
    int err;           /* of its transaction, or of an op */
    bool is_written;   /* its result is known, or is in doubt */
    struct head next;  /* what the head row is with it */
    bool was_full;     /* its commit failed for want of room alone */
    enum group_result result;
};

enum trouble_kind {
    TROUBLE_COMMIT, /* events cannot be stored; a stored group ends it */
    TROUBLE_DAMAGE, /* some cannot, for a damaged page; stays */
    TROUBLE_LATE,   /* a commit takes too long; its end ends it */
    TROUBLE_LOG,    /* the file's log grows; a log that is short again ends it */
    TROUBLE_KINDS
};

struct trouble {
    const char *what, *why; /* constant; NULL: there is none of this kind */
    int64_t since_us, told_us;
    uint64_t refused; /* of stats, when it began */
};

/* A row of an event that is not in the file yet; its slices are the operation's. */
struct new_row {
    int64_t chan, sum;
    uint64_t prev;
    struct store_row row;
};

struct new_rows {
    struct new_row all[DB_ROWS_AT_ONCE];
    uint32_t n;
};

struct store {
    const struct store_calls *calls;
    void *owner;
    struct disk *disk;
    bool has_threads, is_weak, reserves;
    uint32_t checkpoint_pages;

    pthread_mutex_t lock;
    pthread_cond_t woken;
    struct list queue; /* [lock] */
    uint32_t n_queued; /* [lock] */
    size_t bytes_queued;
    bool is_running, closing;               /* [lock] */
    struct store_stats stats;               /* [lock] */
    struct trouble troubles[TROUBLE_KINDS]; /* [lock] */
    atomic_uint_least64_t note; /* the head is to be written: at least this; 0: no */
    atomic_uint_least64_t head_row;

    struct folder folder; /* without a disk */
    const char *file, *vfs;
    struct gather_vfs gather_vfs; /* of real files */
    struct db db;
    struct head head;
    uint64_t lost; /* numbers up to it may be of events that are gone; 0: none */
    struct records records;
    struct group group;
    struct new_rows new_rows; /* of the open transaction */
    unsigned policy_serial;
    uint32_t sweep;       /* the next record that maintenance looks at */
    int64_t maintain_us;  /* not before */
    int64_t keys_us;      /* when idempotency keys are looked at again */
    int64_t data_version; /* of the connection: changes when another one writes */
    int64_t
        probe_us; /* [lock] the head row is not written before, when that has failed */
    int64_t pace_us;
    bool pace_early, pace_joins, is_held;
    bool mark_told;    /* the log has it that the mark cannot be written */
    uint32_t expected; /* ops that are likely to come: those of the last group */
    uint32_t wake_at;  /* [lock] ops that the thread wants to be woken for */
    int64_t commit_us; /* how long the last commit took */
    uint32_t budget;   /* rows that this transaction may still trim */
    uint64_t trimmed;
    pthread_t thread;
    bool has_thread;
    bool ended; /* [lock] the thread is about to return */

    struct reader reader;
};

/* What an operation counts for in the queue, and in a group. */
size_t store_op_bytes(const struct store_op *op);

/* ---- write.c: one operation, in an open transaction ----------------------------------- */
int write_op(struct store *s, struct store_op *op);
/* Whether the channel is durable now: by its record, or by the owner's policy. */
bool write_is_durable(struct store *s, struct slice channel);
/* A channel's newest value, or its removal. */
int write_newest(struct store *s, struct record *r, const struct store_row *row);
/* A row in place of events that are lost: as one that is damaged. */
int write_lost(struct store *s, struct record *r, uint64_t upto);
int write_limit_keys(struct store *s, struct record *r);
struct store_policy *write_limits(struct store *s, struct record *r);

/* ---- rows.c: events that are added in the open transaction ----------------------------- */
int rows_add(struct store *s, const struct new_row *row);
int rows_flush(struct store *s); /* before rows are read or deleted, and at the end */
void rows_forget(struct store *s);

/* ---- convert.c ------------------------------------------------------------------------ */
/* 'live': while events flow; else at a start, when memory channels begin anew at 'number'. */
int convert_all(struct store *s, const struct store_conversion *c, uint64_t number,
                bool live);
/* Say what it has deleted: the transaction is in the file, its records are still touched. */
void convert_report(const struct store *s);

/* ---- lost.c: commits that were acknowledged, and are not in the file ------------------- */
/* The head that was found, against the mark. */
void lost_look(struct store *s, struct head *found);
void lost_look_new(struct store *s); /* the file has no head */
int lost_report(struct store *s);    /* to the readers of durable channels */
void lost_mark(struct store *s);

/* ---- retain.c: steps of at most *budget rows ------------------------------------------- */
int retain_channel(struct store *s, struct record *r, uint32_t *budget);
bool retain_is_wanted(struct store *s, int64_t now_us);
int retain_round(struct store *s, int64_t now_us);

/* ---- group.c: the state machine -------------------------------------------------------- */
/* Take ops from the queue and number them; false: there is nothing to write. */
bool group_gather(struct store *s, int64_t now_us);
/* Open its transaction and write its ops. */
void group_begin(struct store *s);
/* Whether others can join it, and take them from the queue: false when there was none. */
bool group_is_open(const struct store *s);
bool group_join(struct store *s);
void group_write(struct store *s);   /* the rest of it, and COMMIT */
void group_resolve(struct store *s); /* while in doubt: look again */
void group_finish(struct store *s);  /* release or abort, and give back */
void group_give_up(struct store *s); /* its result stays unknown */
void group_drain(struct store *s, enum store_answer answer); /* give back the queue */
int group_settle(struct store *s); /* write again what the file has; see group.c */
int group_write_head(struct store *s, bool clean);
int group_read_head(struct store *s, struct head *out, bool *clean);
/* NULL, or what has happened to the folder or its files while they are open. Static. */
const char *group_place_trouble(struct store *s);
void group_trouble(struct store *s, enum trouble_kind kind, const char *what, int rc);
/* When the head row is to be written although there may be no op: the numbers in memory
 * have moved far, or to see whether trouble is over. INT64_MAX: not. [lock] */
int64_t group_head_due(const struct store *s);

/* ---- trouble.c [lock] ------------------------------------------------------------------- */
void trouble_begin(struct store *s, enum trouble_kind kind, const char *what,
                   const char *why);
void trouble_end(struct store *s, enum trouble_kind kind);
const struct trouble *trouble_now(const struct store *s); /* the worst; NULL: none */

/* Ops that are queued behind a late group, and the group itself. [lock] */
void group_judge_time(struct store *s, int64_t now_us);

#endif
