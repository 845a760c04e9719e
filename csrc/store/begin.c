/* Opening a store and beginning a run; see store.h.
 *
 * What the last run left in the log is made certain before anything of it is used: a complete
 * checkpoint, then the row that takes this run's numbers, each with its fsync. After a power
 * cut or an I/O error what can be read from the system's cache is not always on the disk. */
#include "base/log.h"
#include "base/mem.h"
#include "base/planted.h"
#include "base/rand.h"
#include "base/status.h"
#include "store/columns.h"
#include "store/disk.h"
#include "store/inner.h"
#include "store/schema.h"
#include "store/sum.h"
#include "store/why.h"

#include <stdio.h>

bool store_is_there(const char *folder) {
    return folder_has(folder);
}

static struct store *new_store(const struct store_options *o) {
    struct store *s = mem_new(sizeof *s);
    pthread_condattr_t attr;
    s->calls = o->calls;
    s->owner = o->owner;
    s->disk = o->disk;
    s->has_threads = o->threads;
    s->is_weak = o->weak;
    s->checkpoint_pages =
        o->checkpoint_pages ? o->checkpoint_pages : STORE_CHECKPOINT_PAGES;
    s->reserves = o->reserves;
    s->policy_serial = 1;
    s->expected = 1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->woken, &attr);
    pthread_condattr_destroy(&attr);
    list_init(&s->queue);
    reader_init(&s->reader);
    s->reader.yield.urgent = o->urgent;
    return s;
}

static void free_store(struct store *s) {
    reader_deinit(&s->reader);
    db_close(&s->db);
    pthread_cond_destroy(&s->woken);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

static int take_folder(struct store *s, const char *folder, const char **why) {
    int err = folder_open(&s->folder, folder, why);
    if (err < 0) return err;
    gather_vfs_begin(&s->gather_vfs, NULL);
    s->vfs = s->gather_vfs.name;
    s->file = s->folder.file;
    return 0;
}

static int take_place(struct store *s, const char *folder, const char **why) {
    if (!s->disk) return take_folder(s, folder, why);
    s->file = FOLDER_FILE;
    s->vfs = disk_vfs(s->disk);
    int err = disk_lock(s->disk);
    if (err < 0) *why = "the disk in memory is in use";
    return err;
}

static void leave_place(struct store *s) {
    if (s->disk) disk_unlock(s->disk);
    else folder_close(&s->folder);
    gather_vfs_end(&s->gather_vfs);
}

static const char *says(const struct db *db, int err) {
    if (err == E_DAMAGED)
        return "the store is damaged: move it away, or restore a backup";
    if (db_was_full(db)) return "the store cannot be opened: the disk is full: make room";
    return why_says("the store cannot be opened: %s", sqlite3_errstr(db->rc));
}

/* The structure of a file that is small enough; rows have checksums for when they are read. */
static int check_file(struct store *s) {
    int64_t pages = 0;
    int err = db_number(&s->db, db_sql(&s->db, SQL_PAGES), 0, &pages);
    if (err < 0 || pages > STORE_CHECK_PAGES) return err;
    sqlite3_stmt *q = db_sql(&s->db, SQL_CHECK);
    err = db_row(&s->db, q);
    if (err > 0) err = slice_eq_lit(db_slice(q, 0), "ok") ? 0 : E_DAMAGED;
    db_done(q);
    return err;
}

static int open_file(struct store *s, const char **why) {
    bool is_new = false;
    int err = db_open(&s->db, s->file, s->vfs, s->is_weak ? DB_WEAK : DB_WRITE);
    if (err < 0) {
        *why = says(&s->db, err);
        return err;
    }
    err = check_file(s);
    if (err < 0) *why = says(&s->db, err);
    return err < 0 ? err : schema_prepare(&s->db, &is_new, why);
}

int store_open(struct store **out, const struct store_options *o, const char **why) {
    struct store *s = new_store(o);
    *why = NULL;
    int err = take_place(s, o->folder, why);
    if (err < 0) goto fail;
    err = open_file(s, why);
    if (err == 0) {
        *out = s;
        return 0;
    }
    db_close(&s->db);
    leave_place(s);
fail:
    free_store(s);
    return err;
}

/* ---- Begin ---------------------------------------------------------------------------- */

static int empty_log(struct store *s, const char **why) {
    int err = PLANTED(214) ? 0 : db_log_again(&s->db);
    if (err == 0 && !PLANTED(214)) err = db_checkpoint(&s->db, true);
    if (err == E_BUSY) *why = "another program reads the store and keeps its log";
    else if (err < 0) *why = says(&s->db, err);
    return err == E_BUSY ? E_STORE : err;
}

/* The head of this run: an earlier one's numbers lie below it. */
static int take_numbers(struct store *s, struct store_start *out, const char **why) {
    struct head found = {0};
    int err = group_read_head(s, &found, &out->is_clean);
    out->is_new = err == E_NOTFOUND;
    bool adopts = out->epoch[0] != 0;
    if (err < 0 && !out->is_new) {
        *why = says(&s->db, err);
        return err;
    }
    if (adopts && !out->is_new && strcmp(found.epoch, out->epoch) != 0) {
        *why = "the data folder holds another store: restart to use it";
        return E_INVAL;
    }
    if (out->is_new) lost_look_new(s);
    else lost_look(s, &found);
    if (found.last > INT64_MAX - 2 * STORE_STEP) {
        *why = "the store's numbers are used up";
        return E_FULL;
    }
    s->head = found;
    s->head.commits++;
    if (adopts) {
        snprintf(s->head.epoch, sizeof s->head.epoch, "%s", out->epoch);
        if (out->first > s->head.last) s->head.last = out->first;
        return 0;
    }
    if (out->is_new) rand_base32(s->head.epoch, STORE_EPOCH_LENGTH);
    else if (!PLANTED(215)) s->head.last += STORE_STEP;
    return 0;
}

static int begin(struct store *s, const struct store_conversion *now) {
    int err = db_run(&s->db, db_sql(&s->db, SQL_BEGIN));
    if (err == 0) err = lost_report(s);
    if (err == 0 && now) err = convert_all(s, now, s->head.last, false);
    if (err == 0) {
        struct slice epoch = slice_str(s->head.epoch);
        err = db_run(&s->db,
                     db_bind(&s->db, SQL_HEAD_SET, "siiii", epoch, (int64_t)s->head.last,
                             (int64_t)s->head.commits, (int64_t)0,
                             sum_head(epoch, s->head.last, s->head.commits, false)));
    }
    if (err == 0) err = db_run(&s->db, db_sql(&s->db, SQL_COMMIT));
    if (err < 0 && !sqlite3_get_autocommit(s->db.handle)) {
        int rc = s->db.rc;
        db_run(&s->db, db_sql(&s->db, SQL_ROLLBACK));
        s->db.rc = rc;
    }
    return err;
}

static void say_start(const struct store *s, const struct store_start *start) {
    if (start->is_new) log_printf(LOG_INFO, "store: made %s", s->file);
    else
        log_printf(LOG_INFO, "store: opened %s, %u channels%s", s->file, s->records.n,
                   start->is_clean ? "" : "; the last run did not close it");
}

int store_begin(struct store *s, struct store_start *out,
                const struct store_conversion *now, const char **why) {
    *why = NULL;
    int err = empty_log(s, why);
    if (err == 0 && s->reserves) db_reserve_log(&s->db, s->checkpoint_pages);
    if (err == 0) err = take_numbers(s, out, why);
    if (err < 0) return err;
    err = records_load(&s->records, &s->db);
    if (err == 0 && out->is_new && s->records.n > 0) err = E_DAMAGED; /* no head row */
    if (err == 0) err = begin(s, now);
    if (err < 0) {
        if (!*why) *why = says(&s->db, err);
        s->head.epoch[0] = 0; /* no clean mark */
        return err;
    }
    convert_report(s);
    records_commit(&s->records);
    lost_mark(s);
    if (!s->disk) folder_note(&s->folder);
    memcpy(out->epoch, s->head.epoch, sizeof out->epoch);
    out->first = s->head.last;
    s->head_row = s->stats.head = s->head.last;
    s->stats.channels = s->records.n;
    say_start(s, out);
    return 0;
}

/* ---- What is stored ------------------------------------------------------------------- */

int store_each_channel(struct store *s,
                       int (*fn)(void *arg, const struct store_channel *c), void *arg) {
    int err = 0;
    for (uint32_t i = 0; err == 0 && i < s->records.n; i++) {
        const struct record *r = s->records.all[i];
        struct store_channel c = {.name = r->key,
                                  .kind = r->now.kind,
                                  .durable = r->now.durable,
                                  .floor = r->now.floor,
                                  .last = r->now.last};
        err = fn(arg, &c);
    }
    return err;
}

int store_each_newest(struct store *s, struct slice channel,
                      int (*fn)(void *arg, struct slice channel,
                                const struct store_row *r),
                      void *arg, uint32_t *damaged) {
    sqlite3_stmt *q = channel.n > 0 ? db_bind(&s->db, SQL_NEWEST_OF, "s", channel)
                                    : db_sql(&s->db, SQL_NEWEST_ALL);
    int err;
    while ((err = db_row(&s->db, q)) > 0) {
        struct store_row row = {.seq = db_u64(q, 1),
                                .at_ms = sqlite3_column_int64(q, 2),
                                .expires_ms = sqlite3_column_int64(q, 3),
                                .name = db_slice(q, 4),
                                .key = db_slice(q, 5),
                                .data = db_slice(q, 6)};
        bool sound =
            sum_newest(sqlite3_column_int64(q, 8), &row) == sqlite3_column_int64(q, 7);
        if (sound) err = fn(arg, db_slice(q, 0), &row);
        else ++*damaged;
        if (sound && err != 0) break;
    }
    db_done(q);
    return err;
}

int store_each_recent(struct store *s, struct slice channel, uint32_t events_max,
                      int (*fn)(void *arg, const struct store_row *r, uint64_t before),
                      void *arg) {
    const struct record *rec = record_find(&s->records, channel);
    if (!rec) return 0;
    sqlite3_stmt *q = db_bind(&s->db, SQL_EVENTS_RECENT, "iii", rec->id,
                              (int64_t)rec->now.floor, (int64_t)events_max);
    int err;
    while ((err = db_row(&s->db, q)) > 0) {
        struct store_row row = columns_event(q, 0);
        uint64_t before = db_u64(q, 1);
        bool sound = sum_event(rec->id, before, &row) == sqlite3_column_int64(q, 8);
        if (!sound || (err = fn(arg, &row, before)) != 0) break;
    }
    db_done(q);
    return err < 0 ? err : 0;
}

int store_each_pair(struct store *s, int (*fn)(void *arg, const struct store_pair *p),
                    void *arg, uint32_t *damaged) {
    sqlite3_stmt *q = db_sql(&s->db, SQL_PAIRS);
    int err;
    while ((err = db_row(&s->db, q)) > 0) {
        struct store_pair p = {
            .store = db_slice(q, 0), .key = db_slice(q, 1), .value = db_slice(q, 2)};
        bool sound = sum_pair(&p) == sqlite3_column_int64(q, 3);
        if (sound) err = fn(arg, &p);
        else ++*damaged;
        if (sound && err != 0) break;
    }
    db_done(q);
    return err;
}

int store_each_task(struct store *s, int (*fn)(void *arg, const struct store_task *t),
                    void *arg, uint32_t *damaged) {
    sqlite3_stmt *q = db_sql(&s->db, SQL_TASKS);
    int err;
    while ((err = db_row(&s->db, q)) > 0) {
        struct store_task t = {.id = db_slice(q, 0),
                               .due_ms = sqlite3_column_int64(q, 1),
                               .name = db_slice(q, 2),
                               .data = db_slice(q, 3)};
        bool sound = sum_task(&t) == sqlite3_column_int64(q, 4);
        if (sound) err = fn(arg, &t);
        else ++*damaged;
        if (sound && err != 0) break;
    }
    db_done(q);
    return err;
}
