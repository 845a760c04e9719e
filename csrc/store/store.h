/* The durable store: one SQLite file in a data folder, written in groups.
 *
 *      submit        gather         numbers         COMMIT            release   done
 *   op op op … ──▶ ≤ 128 ops ──▶ open(n) ──▶ one transaction, ──▶ in order ──▶ each
 *                   or 2 ms                    one fsync      │
 *                                                             └──▶ abort (surely nothing
 *                                                                  of it is in the file)
 *
 * One group at a time. What a commit that failed has left behind is unknown; the group then
 * keeps its numbers while the file is opened anew, written again by a complete checkpoint
 * and compared, until it is certain. Nothing is released, answered or read before.
 *
 * Two drivers, one machine: a thread of its own (and one that reads), or the owner, who
 * calls store_step at the time it chooses (clock_hold) and says how long a commit takes.
 *
 * What a power cut leaves is what was acknowledged, and perhaps more. Numbers never come
 * twice: each group writes its last one into the head row, and a start begins 2^40 above. */
#ifndef SLUICE_STORE_STORE_H
#define SLUICE_STORE_STORE_H

#include "base/histogram.h"
#include "store/head.h"
#include "store/op.h"
#include "store/read.h"

#include <stdatomic.h>
#include <stddef.h>

struct store;
struct disk;

/* How the store reaches what numbers events. All but 'late' run on the store's thread (in
 * store_step without threads), none under a lock of the store's but 'late'. */
struct store_calls {
    /* Reserve n > 0 numbers above everything that was given; they stay reserved until
     * release, which may use fewer, or abort. 0, or an error: the group fails. */
    int (*open)(void *owner, uint32_t n, uint64_t *first);
    /* The group is on the disk. Each op has its answer; those with STORE_STORED are events
     * of that number (in rising order, with holes) and conversions and trims, at their
     * place. It has used the first n_numbers. Called for groups without a number too (0:
     * open was not called). */
    void (*release)(void *owner, struct store_op **ops, uint32_t n, uint32_t n_numbers);
    /* Nothing of the group is in the file: its numbers may be given again. Only if open
     * was called. */
    void (*abort)(void *owner);
    /* These ops are the owner's again, in their order, each with its answer; after release.
     * Also of a group that failed, and at the end what is left. */
    void (*done)(void *owner, struct store_op **ops, uint32_t n);
    /* Its commit takes longer than STORE_LATE_MS: answer ETIMEOUT (unknown). The op stays
     * the store's until done, which says what became of it. [store_tick's thread, under
     * the store's lock: do not call the store] */
    void (*late)(void *owner, struct store_op *op);
    /* The policy of a channel, and its floor if the store has no row of it. Follows the
     * conversions that were released. [store thread] */
    void (*policy)(void *owner, struct slice channel, struct store_policy *out,
                   uint64_t *floor);
    /* Retention has trimmed a channel up to and including this number. A hint: pages are
     * judged by the floor they bring. [store thread] */
    void (*floor)(void *owner, struct slice channel, uint64_t floor);
};

struct store_options {
    const char *folder; /* the data folder; or */
    struct disk *disk;  /* a disk in memory. Shares */
    bool threads;       /* false: store_step and store_reads_step drive it */
    /* For specs: do not wait for the disk (synchronous=NORMAL); pages of the log that make
     * it be copied into the file (0: STORE_CHECKPOINT_PAGES). */
    bool weak;
    uint32_t checkpoint_pages;
    /* The log gets its room when the store begins, as long as there is room: commits then
     * write over what is there, for which a sync has less to do. */
    bool reserves;
    const atomic_uint *urgent; /* pages give way to it, see run/yield.h; NULL */
    const struct store_calls *calls;
    void *owner;
};

/* ---- Begin ------------------------------------------------------------------------ */

/* Whether there is a store: then a start must open it, whatever the app declares. */
bool store_is_there(const char *folder);

/* Open or create: the folder (0700), its lock, the file, older schemas. 0, E_LOCKED (another
 * process has it), E_DAMAGED, E_STORE, E_INVAL (made by a newer version, or no store of
 * ours) or a negative errno; *why gets a sentence, which lives until the next call on this
 * thread. [any thread, before all others] */
int store_open(struct store **out, const struct store_options *o, const char **why);

struct store_start {
    char epoch[STORE_EPOCH_LENGTH + 1];
    uint64_t first; /* the head to begin with: the next number is above it */
    bool is_new;    /* the file was made now */
    bool is_clean;  /* the last run closed it */
};

/* Make certain what the last run left (a complete checkpoint), take the numbers of this run
 * and convert what the app has changed meanwhile, in one transaction.
 *   in:  out->epoch empty: keep the file's epoch, or draw one, and begin 2^40 above its
 *        head. Else the running epoch and out->first its head, which a new file adopts
 *        (E_INVAL when it has an epoch).
 *   now: what the app is; NULL: keep all as it was.
 * 0 or an error as of store_open: then only store_close. */
int store_begin(struct store *s, struct store_start *out,
                const struct store_conversion *now, const char **why);

/* What is stored, one call each; before store_run, or in store_calls.release. Slices are borrowed until fn returns;
 * fn returns 0 to go on. Damaged rows are left out and counted. */
struct store_channel {
    struct slice name; /* or a pattern */
    enum store_kind kind;
    bool durable;
    uint64_t floor;
    uint64_t last; /* its newest stored number; at least the floor */
};
int store_each_channel(struct store *s,
                       int (*fn)(void *arg, const struct store_channel *c), void *arg);
int store_each_newest(struct store *s, struct slice channel, /* empty: of all channels */
                      int (*fn)(void *arg, struct slice channel,
                                const struct store_row *r),
                      void *arg, uint32_t *damaged);
/* The newest events of a durable log, the newest first, up to the first damaged one: at most
 * so many, and none below the floor. fn gets the number of the one before it, too. */
int store_each_recent(struct store *s, struct slice channel, uint32_t events_max,
                      int (*fn)(void *arg, const struct store_row *r, uint64_t before),
                      void *arg);
int store_each_pair(struct store *s, int (*fn)(void *arg, const struct store_pair *p),
                    void *arg, uint32_t *damaged);
int store_each_task(struct store *s, int (*fn)(void *arg, const struct store_task *t),
                    void *arg, uint32_t *damaged);

/* From now on operations are carried out (starts the threads). 0 or a negative errno. */
int store_run(struct store *s);

/* ---- Work ------------------------------------------------------------------------- */

/* Queue an operation (takes it until 'done'). 0, E_BUSY (STORE_QUEUE_MAX or
 * STORE_QUEUE_BYTES_MAX wait) or E_CLOSED: then it was not taken. [any thread] */
int store_submit(struct store *s, struct store_op *op);

/* Look at the time: late groups, operations that waited too long behind one, and the head,
 * which is written when memory events have moved far. Call it every 250 ms or so, with
 * threads or without. [the owner's thread] */
void store_tick(struct store *s, uint64_t head);

/* ---- Without threads -------------------------------------------------------------- */

/* A commit takes so long from now on; with 'early' the file has the group at the beginning
 * of that time already, else at its end. With 'joins' what is queued meanwhile belongs to it,
 * as it may with threads. */
void store_pace(struct store *s, int64_t commit_us, bool early, bool joins);
void store_pace_reads(struct store *s, int64_t read_us);

/* The disk hangs: no commit ends until this is taken back. */
void store_hold(struct store *s, bool on);

/* Do what is due at clock_us(). Returns whether anything was. */
bool store_step(struct store *s);

/* When the next thing is due (clock_us), INT64_MAX: nothing is. */
int64_t store_next(struct store *s);

/* ---- End -------------------------------------------------------------------------- */

/* Finish what is queued, checkpoint, write the clean mark, end the threads and free. What
 * cannot be finished is given back (STORE_FAILED, or STORE_UNKNOWN while its result is in
 * doubt). 0; or E_TIMEOUT: a commit has hung for wait_ms, nothing was freed, and the
 * process can only leave by _exit (without threads: store_drop). */
int store_close(struct store *s, int64_t wait_ms);

/* As if the process died: nothing is finished or written. Ops are given back
 * (STORE_UNKNOWN), so that their owner can free them. Without threads only. */
void store_drop(struct store *s);

/* ---- Figures ---------------------------------------------------------------------- */

struct store_stats {
    uint64_t commits, events, failed,
        unknown;                     /* groups; events stored; since store_open */
    uint64_t group_us, group_us_max; /* time of the commits: sum, longest */
    struct histogram group_times;    /* the same in us, also of those that failed */
    uint32_t queued, in_flight, reads;
    uint64_t trimmed;   /* rows that retention deleted */
    uint64_t head;      /* the head row */
    uint64_t wal_pages; /* after the last commit */
    uint64_t channels;  /* rows of channels and patterns */
    uint64_t damaged;   /* rows whose checksum was wrong, when they were read */
    uint64_t refused;   /* ops that failed; */
    uint64_t late;      /* ... that were told to be late */
    bool in_doubt;      /* a commit's result is not known */
    const char
        *trouble;    /* why nothing can be stored now, or the file's log grows; NULL: */
    const char *why; /* all is well. Constant texts */
};
void store_stats(struct store *s, struct store_stats *out); /* [any thread] */

#endif
