/* See place.h. */
#include "store/place.h"

#include "base/status.h"
#include "store/columns.h"
#include "store/disk.h"
#include "store/schema.h"
#include "store/why.h"

#define STEPS 20000 /* of SQLite's machine, between two questions: about a millisecond */

int store_job_go_on(struct store_job *j, uint64_t done, uint64_t total) {
    if (!j->progress) return 0;
    if (!j->ended && j->progress(j->arg, done, total)) j->ended = true;
    return j->ended ? E_CLOSED : 0;
}

static int on_steps(void *arg) {
    return store_job_go_on(arg, 0, 0) < 0;
}

static int find(struct place *p, const struct store_place *where, const char **why) {
    *p = (struct place){.folder = {.dir = -1, .lock = -1}};
    if (!where->disk) {
        int err = folder_look(&p->folder, where->folder, why);
        p->file = p->folder.file;
        return err;
    }
    p->file = FOLDER_FILE;
    p->vfs = disk_vfs(where->disk);
    return disk_has(where->disk, slice_str(FOLDER_FILE)) ? 0 : E_NOTFOUND;
}

static void explain(const struct place *p, struct store_job *job, int err, int rc) {
    if (job->why) return;
    const char *file = p->file ? p->file : "the store";
    if (err == E_DAMAGED)
        job->why =
            why_says("'%s' is damaged: %s. Restore a backup", file, sqlite3_errstr(rc));
    else if ((rc & 0xff) == SQLITE_CANTOPEN || (rc & 0xff) == SQLITE_READONLY)
        job->why =
            why_says("'%s' cannot be opened: its folder must be writable, since readers "
                     "keep a file beside it. Copy it to a folder of yours",
                     file);
    else if (err == E_STORE)
        job->why = why_says("'%s' cannot be read: %s", file, sqlite3_errstr(rc));
}

int place_open(struct place *p, const struct store_place *where, struct store_job *job) {
    int64_t head;
    job->why = NULL;
    job->ended = false;
    int err = find(p, where, &job->why);
    if (err < 0) return err;
    err = db_open(&p->db, p->file, p->vfs, DB_READ);
    if (err == 0 && job->progress)
        sqlite3_progress_handler(p->db.handle, STEPS, on_steps, job);
    if (err == 0) err = schema_check(&p->db, &job->why);
    if (!where->disk) folder_marked(&p->folder, &p->mark); /* first: a server may go on */
    if (err == 0) err = db_run(&p->db, db_sql(&p->db, SQL_BEGIN_READ));
    if (err == 0) err = db_number(&p->db, db_sql(&p->db, SQL_HEAD), 0, &head);
    return err < 0 ? place_close(p, job, err) : 0;
}

uint64_t place_missing(struct place *p) {
    sqlite3_stmt *q = db_sql(&p->db, SQL_HEAD);
    uint64_t commits = 0;
    bool same = true;
    if (db_row(&p->db, q) > 0) { /* of a damaged one nothing is known */
        same = columns_is_sound(SQL_HEAD, q) &&
               slice_eq(db_slice(q, 0), slice_str(p->mark.epoch));
        commits = db_u64(q, 2);
    }
    db_done(q);
    return same && p->mark.commits > commits ? p->mark.commits - commits : 0;
}

int place_is_whole(struct place *p, place_found_fn *found, void *arg) {
    sqlite3_stmt *q = db_sql(&p->db, SQL_CHECK_ALL);
    bool whole = true;
    int err;
    while ((err = db_row(&p->db, q)) > 0) {
        struct slice s = db_slice(q, 0);
        if (slice_eq_lit(s, "ok")) continue;
        whole = false;
        if (found) found(arg, s);
    }
    return err < 0 ? err : whole;
}

int place_close(struct place *p, struct store_job *job, int err) {
    if (job->ended) err = E_CLOSED;
    if (err == E_STORE || err == E_DAMAGED) explain(p, job, err, p->db.rc);
    db_close(&p->db);
    if (p->folder.path) folder_close(&p->folder);
    return err;
}
