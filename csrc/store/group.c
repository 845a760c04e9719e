/* The state machine: what becomes of a group; see store.h. [store thread]
 *
 *      gather ──▶ write ──▶ STORED ──▶ finish: release, give back
 *                   │
 *                   ├─────▶ FAILED ──▶ finish: abort, give back
 *                   │         ▲  (an error before COMMIT: without its commit mark nothing of
 *                   │         │   it can come back)
 *                   └─────▶ DOUBT ──▶ resolve ──▶ STORED, FAILED, or DOUBT again
 *
 * Resolving: everything is closed, so that the next to open recovers what the log holds;
 * the whole log is written again, copied into the file and synced, and made empty; the head
 * row is written and synced once more, so that a log which an unsynced truncation brings
 * back is an older one. Only when all that succeeded does the number of transactions in the
 * head row count. */
#include "base/clock.h"
#include "base/log.h"
#include "base/planted.h"
#include "base/status.h"
#include "store/inner.h"
#include "store/sum.h"

#include <assert.h>
#include <stdio.h>

/* ---- The head row --------------------------------------------------------------------- */

static int put_head(struct store *s, const struct head *h, bool clean) {
    struct slice epoch = slice_str(h->epoch);
    return db_run(&s->db, db_bind(&s->db, SQL_HEAD_SET, "siiii", epoch, (int64_t)h->last,
                                  (int64_t)h->commits, (int64_t)clean,
                                  sum_head(epoch, h->last, h->commits, clean)));
}

int group_read_head(struct store *s, struct head *out, bool *clean) {
    sqlite3_stmt *q = db_sql(&s->db, SQL_HEAD);
    int err = db_row(&s->db, q);
    if (err == 0) return E_NOTFOUND;
    if (err < 0) return err;
    struct slice epoch = db_slice(q, 0);
    *out = (struct head){.last = db_u64(q, 1), .commits = db_u64(q, 2)};
    *clean = sqlite3_column_int(q, 3) != 0;
    bool sound =
        epoch.n == STORE_EPOCH_LENGTH &&
        sum_head(epoch, out->last, out->commits, *clean) == sqlite3_column_int64(q, 4);
    if (sound) memcpy(out->epoch, epoch.p, epoch.n);
    db_done(q);
    return sound ? 0 : E_DAMAGED;
}

static void roll_back(struct store *s) {
    int rc = s->db.rc;
    if (s->db.handle && !sqlite3_get_autocommit(s->db.handle))
        db_run(&s->db, db_sql(&s->db, SQL_ROLLBACK));
    s->db.rc = rc;
}

int group_write_head(struct store *s, bool clean) {
    int err = db_run(&s->db, db_sql(&s->db, SQL_BEGIN));
    if (err == 0) err = put_head(s, &s->head, clean);
    if (err == 0) err = db_run(&s->db, db_sql(&s->db, SQL_COMMIT));
    if (err < 0) roll_back(s);
    else lost_mark(s);
    return err;
}

/* ---- Trouble -------------------------------------------------------------------------- */

/* The reason, and what whoever reads the log can do about it. */
static const char *advice(enum trouble_kind kind, int rc) {
    switch (rc & 0xff) {
    case SQLITE_OK:
        return kind == TROUBLE_LOG ? "end that program"
                                   : "bring it back; a restart begins with what is there";
    case SQLITE_FULL: return "database or disk is full: make room";
    case SQLITE_IOERR: return "disk I/O error: see the system's log";
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return "database is locked by another program: end it";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return "what needs its damaged pages is refused. Stop the server, look with "
               "'sluice store verify', and restore a backup";
    default: return sqlite3_errstr(rc);
    }
}

void group_trouble(struct store *s, enum trouble_kind kind, const char *what, int rc) {
    pthread_mutex_lock(&s->lock);
    trouble_begin(s, kind, what, advice(kind, rc));
    pthread_mutex_unlock(&s->lock);
}

static void no_trouble(struct store *s, enum trouble_kind kind) {
    pthread_mutex_lock(&s->lock);
    trouble_end(s, kind);
    pthread_mutex_unlock(&s->lock);
}

int64_t group_head_due(const struct store *s) {
    bool wanted = s->note > 0 || s->troubles[TROUBLE_COMMIT].what;
    return wanted ? s->probe_us : INT64_MAX;
}

/* Another program may empty the log rightly: its index says so before. */
static bool is_log_short(const struct store *s) {
    uint64_t least = s->db.handle ? db_log_bytes(&s->db) : 0;
    return least > folder_wal_bytes(&s->folder) && least == db_log_bytes(&s->db);
}

const char *group_place_trouble(struct store *s) {
    const char *what = s->disk ? NULL : folder_trouble(&s->folder);
    if (!what && !s->disk && is_log_short(s)) what = "the store's log file was shortened";
    return what;
}

/* ---- Gather --------------------------------------------------------------------------- */

static void count_refused(struct store *s, struct store_op **ops, uint32_t n) {
    pthread_mutex_lock(&s->lock);
    for (uint32_t i = 0; i < n; i++) s->stats.refused += !ops[i]->late;
    pthread_mutex_unlock(&s->lock);
}

/* STORE_PENDING: each has its answer. */
static void give_back(struct store *s, struct store_op **ops, uint32_t n,
                      enum store_answer answer) {
    for (uint32_t i = 0; answer != STORE_PENDING && i < n; i++) ops[i]->answer = answer;
    if (answer == STORE_FAILED) count_refused(s, ops, n);
    if (n > 0) s->calls->done(s->owner, ops, n);
}

/* A conversion is a group of its own, at its place. [lock] */
static bool goes_alone(const struct store_op *op) {
    return op->kind == STORE_CONVERT && !PLANTED(220);
}

/* The next of the queue, if it fits. [lock] */
static bool take_one(struct store *s) {
    struct group *g = &s->group;
    if (list_empty(&s->queue) || g->n == STORE_GROUP_MAX) return false;
    struct store_op *op = container_of(s->queue.next, struct store_op, node);
    bool apart = g->n > 0 && (goes_alone(op) || goes_alone(g->ops[0]));
    if (apart || g->bytes >= STORE_GROUP_BYTES_MAX) return false;
    list_remove(&op->node);
    s->n_queued--;
    s->bytes_queued -= store_op_bytes(op);
    g->bytes += store_op_bytes(op);
    g->ops[g->n++] = op;
    return true;
}

/* Those from 'from' on that do not stay. */
static void take_out(struct store *s, uint32_t from, const bool *stays,
                     enum store_answer answer) {
    struct group *g = &s->group;
    struct store_op *out[STORE_GROUP_MAX];
    uint32_t n_out = 0, n = from;
    pthread_mutex_lock(&s->lock);
    for (uint32_t i = from; i < g->n; i++) {
        if (stays[i]) g->ops[n++] = g->ops[i];
        else out[n_out++] = g->ops[i];
    }
    g->n = n;
    pthread_mutex_unlock(&s->lock);
    give_back(s, out, n_out, answer);
}

static bool belongs(struct store *s, const struct store_op *op) {
    if (op->kind == STORE_EVENT) return write_is_durable(s, op->event.channel);
    if (op->kind == STORE_TRIM) return write_is_durable(s, op->trim.channel);
    return true;
}

/* What was queued for a channel that has become a memory channel goes there. */
static void hand_off(struct store *s, uint32_t from) {
    const struct group *g = &s->group;
    bool stays[STORE_GROUP_MAX], all = true;
    for (uint32_t i = from; i < g->n; i++) {
        stays[i] = belongs(s, g->ops[i]);
        all = all && stays[i];
    }
    if (!all) take_out(s, from, stays, STORE_NOT_DURABLE);
}

static bool takes_number(const struct store_op *op) {
    return op->kind == STORE_EVENT || op->kind == STORE_CONVERT;
}

/* The first that takes a number reserves them for all that may join it. */
static int number(struct store *s, uint32_t from) {
    struct group *g = &s->group;
    for (uint32_t i = from; i < g->n; i++) {
        struct store_op *op = g->ops[i];
        uint32_t most = goes_alone(op) ? 1 : STORE_GROUP_MAX;
        bool takes = takes_number(op);
        int err =
            takes && g->n_numbers == 0 ? s->calls->open(s->owner, most, &g->first) : 0;
        if (err < 0) return err;
        uint32_t before = PLANTED(223) ? i - from : g->n_numbers;
        op->seq = takes ? g->first + before : 0;
        g->n_numbers += takes;
    }
    return 0;
}

/* What is queued, as far as it fits. */
static void take(struct store *s) {
    static const bool none[STORE_GROUP_MAX];
    uint32_t from = s->group.n;
    pthread_mutex_lock(&s->lock);
    while (take_one(s)) continue;
    pthread_mutex_unlock(&s->lock);
    hand_off(s, from);
    if (number(s, from) < 0) take_out(s, from, none, STORE_FAILED);
}

bool group_gather(struct store *s, int64_t now_us) {
    struct group *g = &s->group;
    *g = (struct group){.began_us = now_us};
    take(s);
    if (g->n == 0 && !retain_is_wanted(s, now_us)) return false;
    pthread_mutex_lock(&s->lock);
    g->active = true;
    pthread_mutex_unlock(&s->lock);
    return true;
}

/* ---- Write ---------------------------------------------------------------------------- */

static struct head next_head(const struct store *s) {
    struct head h = s->head;
    const struct group *g = &s->group;
    h.commits++;
    uint64_t last = g->n_numbers ? g->first + g->n_numbers - 1 : 0, note = s->note;
    if (last > h.last && !PLANTED(209)) h.last = last;
    if (note > h.last) h.last = note;
    return h;
}

/* In the transaction, where it takes no lock of its own. */
static int look_for_others(struct store *s) {
    int64_t version = 0;
    int err = db_number(&s->db, db_sql(&s->db, SQL_DATA_VERSION), 0, &version);
    if (err == 0 && s->data_version && version != s->data_version)
        log_printf(LOG_ERROR,
                   "store: another program has written to %s: that is not safe", s->file);
    if (err == 0) s->data_version = version;
    return err;
}

static int begin(struct store *s) {
    s->budget = STORE_ROUND_MAX;
    rows_forget(s); /* of one that failed */
    int err = db_run(&s->db, db_sql(&s->db, SQL_BEGIN));
    return err < 0 ? err : look_for_others(s);
}

/* Those that joined since the last call. */
static int write_ops(struct store *s) {
    struct group *g = &s->group;
    int err = 0;
    while (err == 0 && g->n_written < g->n) err = write_op(s, g->ops[g->n_written++]);
    return err;
}

static int end(struct store *s) {
    struct group *g = &s->group;
    int err = rows_flush(s);
    if (err == 0) err = retain_round(s, g->began_us);
    g->next = next_head(s);
    return err < 0 ? err : put_head(s, &g->next, false);
}

static enum group_result commit(struct store *s) {
    struct group *g = &s->group;
    int64_t began_us = clock_us();
    int err = db_run(&s->db, db_sql(&s->db, SQL_COMMIT));
    s->commit_us = clock_us() - began_us;
    if (err == 0) {
        const char *trouble = group_place_trouble(s);
        if (!trouble) return GROUP_STORED;
        group_trouble(s, TROUBLE_COMMIT, trouble, 0);
        return GROUP_DOUBT;
    }
    int rc = s->db.rc & 0xff;
    g->was_full = db_was_full(&s->db);
    group_trouble(s, TROUBLE_COMMIT, "a commit failed", g->was_full ? SQLITE_FULL : rc);
    roll_back(s);
    if (PLANTED(218)) return GROUP_STORED;
    return rc == SQLITE_BUSY || PLANTED(208) ? GROUP_FAILED : GROUP_DOUBT;
}

/* Damage does not end when something else is stored. */
static void say_unwritten(struct store *s) {
    int rc = s->db.rc & 0xff;
    if (rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB)
        group_trouble(s, TROUBLE_DAMAGE, "the file is damaged", rc);
    else
        group_trouble(s, TROUBLE_COMMIT, "events cannot be written",
                      db_was_full(&s->db) ? SQLITE_FULL : rc);
}

void group_begin(struct store *s) {
    struct group *g = &s->group;
    g->err = begin(s);
    if (g->err == 0) g->err = write_ops(s);
}

bool group_is_open(const struct store *s) {
    const struct group *g = &s->group;
    return g->n > 0 && !goes_alone(g->ops[0]) && g->err == 0;
}

bool group_join(struct store *s) {
    struct group *g = &s->group;
    uint32_t before = g->n;
    if (!group_is_open(s)) return false;
    take(s);
    g->err = write_ops(s);
    return g->n > before;
}

/* What has happened to the folder is looked for as late as can be. */
static enum group_result write_group(struct store *s) {
    struct group *g = &s->group;
    if (g->err == 0) g->err = end(s);
    const char *trouble = group_place_trouble(s);
    if (g->err == 0 && !trouble) return commit(s);
    if (trouble) group_trouble(s, TROUBLE_COMMIT, trouble, 0);
    else say_unwritten(s);
    roll_back(s);
    return GROUP_FAILED;
}

static void note_doubt(struct store *s, bool on) {
    pthread_mutex_lock(&s->lock);
    if (on && !s->stats.in_doubt) s->stats.unknown++;
    s->stats.in_doubt = on;
    pthread_mutex_unlock(&s->lock);
}

void group_write(struct store *s) {
    s->group.result = write_group(s);
    s->group.is_written = true;
    note_doubt(s, s->group.result == GROUP_DOUBT);
}

/* ---- Resolve -------------------------------------------------------------------------- */

int group_settle(struct store *s) {
    int err = db_log_again(&s->db);
    if (err == 0) err = db_checkpoint(&s->db, true);
    return err < 0 || PLANTED(207) ? err : group_write_head(s, false);
}

/* What the file says of the group; DOUBT while it cannot be made certain. */
static enum group_result look_again(struct store *s) {
    struct group *g = &s->group;
    struct head h;
    bool clean = false;
    if (group_place_trouble(s)) return GROUP_DOUBT;
    if (db_open(&s->db, s->file, s->vfs, s->is_weak ? DB_WEAK : DB_WRITE) < 0)
        return GROUP_DOUBT;
    s->data_version = 0;
    if (group_read_head(s, &h, &clean) < 0) return GROUP_DOUBT;
    bool there = h.commits == g->next.commits;
    if (!there && h.commits + 1 != g->next.commits) {
        group_trouble(s, TROUBLE_COMMIT,
                      "the store's file is not the one that was written to", 0);
        return GROUP_DOUBT;
    }
    if (!there && g->was_full) return GROUP_FAILED; /* its commit mark found no room */
    if (PLANTED(207)) return there ? GROUP_STORED : GROUP_FAILED;
    s->head = h;
    return group_settle(s) < 0 ? GROUP_DOUBT : there ? GROUP_STORED : GROUP_FAILED;
}

void group_resolve(struct store *s) {
    reader_shut(&s->reader);
    db_close(&s->db);
    s->group.result = look_again(s);
    if (s->group.result == GROUP_DOUBT) {
        if (s->db.handle) roll_back(s);
        return;
    }
    note_doubt(s, false);
    reader_open(&s->reader);
}

/* ---- Finish --------------------------------------------------------------------------- */

static void count(struct store *s, int64_t now_us) {
    struct group *g = &s->group;
    struct store_stats *stats = &s->stats;
    uint64_t took = (uint64_t)(now_us - g->began_us - g->waited_us);
    /* The head's row alone fits where no event does. */
    bool has_room = g->n > 0 || s->disk || folder_has_room(&s->folder);
    pthread_mutex_lock(&s->lock);
    g->active = false;
    histogram_add(&stats->group_times, histogram_us, took, 1);
    trouble_end(s, TROUBLE_LATE);
    if (g->result == GROUP_STORED) {
        if (has_room) trouble_end(s, TROUBLE_COMMIT);
        stats->commits++;
        for (uint32_t i = 0; i < g->n; i++)
            stats->events +=
                g->ops[i]->kind == STORE_EVENT && g->ops[i]->answer == STORE_STORED;
        stats->group_us += took;
        if (took > stats->group_us_max) stats->group_us_max = took;
        stats->head = g->next.last;
    } else stats->failed++;
    stats->wal_pages = s->db.wal_frames;
    stats->channels = s->records.n;
    stats->trimmed = s->trimmed;
    pthread_mutex_unlock(&s->lock);
}

/* Floors that rose without an op that says so. */
static void report_floors(struct store *s) {
    for (struct record *r = s->records.touched; r; r = r->touched)
        if (r->now.floor > r->before.floor)
            s->calls->floor(s->owner, r->key, r->now.floor);
}

static void look_at_log(struct store *s) {
    if (s->db.wal_frames < s->checkpoint_pages) {
        no_trouble(s, TROUBLE_LOG);
        return;
    }
    int err = db_checkpoint(&s->db, false);
    if (err < 0 && err != E_BUSY)
        group_trouble(s, TROUBLE_LOG, "the log cannot be copied into the file", s->db.rc);
    else if (s->db.wal_frames > STORE_WAL_PAGES_WARN)
        group_trouble(s, TROUBLE_LOG,
                      "a program that reads the file keeps its log from being emptied",
                      0);
}

static void release(struct store *s) {
    struct group *g = &s->group;
    s->head = g->next;
    lost_mark(s);
    s->head_row = s->head.last;
    if (s->note <= s->head.last) s->note = 0;
    if (g->n > 0 && g->ops[0]->kind == STORE_CONVERT) {
        s->policy_serial++;
        convert_report(s);
    }
    if (g->n > 0) s->calls->release(s->owner, g->ops, g->n, g->n_numbers);
    report_floors(s);
    records_commit(&s->records);
}

/* What nobody waits for. */
static void try_later(struct store *s) {
    int64_t began_us = s->group.began_us;
    s->maintain_us = began_us + STORE_MAINTAIN_MS * 1000;
    pthread_mutex_lock(&s->lock);
    s->probe_us = began_us + STORE_PROBE_MS * 1000;
    pthread_mutex_unlock(&s->lock);
}

void group_finish(struct store *s) {
    struct group *g = &s->group;
    assert(g->result != GROUP_DOUBT);
    if (PLANTED(219) && g->late) g->result = GROUP_FAILED;
    bool stored = g->result == GROUP_STORED;
    count(s, clock_us());
    if (stored) release(s);
    else {
        records_rollback(&s->records);
        if (g->n > 0 && g->ops[0]->kind == STORE_CONVERT) s->policy_serial++;
        if (g->n_numbers > 0) s->calls->abort(s->owner);
        if (g->n == 0) try_later(s);
    }
    give_back(s, g->ops, g->n, stored ? STORE_PENDING : STORE_FAILED);
    s->expected = g->n;
    if (stored) look_at_log(s);
}

void group_give_up(struct store *s) {
    struct group *g = &s->group;
    pthread_mutex_lock(&s->lock);
    bool active = g->active;
    g->active = false;
    pthread_mutex_unlock(&s->lock);
    if (!active) return;
    records_rollback(&s->records);
    give_back(s, g->ops, g->n, STORE_UNKNOWN);
}

static struct store_op *pop(struct store *s) {
    struct store_op *op = NULL;
    pthread_mutex_lock(&s->lock);
    if (!list_empty(&s->queue)) {
        op = container_of(s->queue.next, struct store_op, node);
        list_remove(&op->node);
        s->n_queued--;
        s->bytes_queued -= store_op_bytes(op);
    }
    pthread_mutex_unlock(&s->lock);
    return op;
}

void group_drain(struct store *s, enum store_answer answer) {
    for (struct store_op *op; (op = pop(s));) give_back(s, &op, 1, answer);
}
