/* A copy of the file as it is at one moment, page by page, while its server goes on writing:
 * the read transaction holds the moment. The unfinished copy has no journal and no syncs; it
 * is synced when it gets its name. [one thread] */
#include "base/bounds.h"
#include "base/mem.h"
#include "base/status.h"
#include "store/output.h"
#include "store/place.h"
#include "store/sum.h"
#include "store/why.h"

#include <inttypes.h>
#include <unistd.h>

#define STEP_PAGES 256

static int copy(sqlite3_backup *b, struct store_job *job) {
    int rc;
    while ((rc = sqlite3_backup_step(b, STEP_PAGES)) == SQLITE_OK) {
        uint64_t total = (uint64_t)sqlite3_backup_pagecount(b);
        uint64_t done = total - (uint64_t)sqlite3_backup_remaining(b);
        if (store_job_go_on(job, done, total) < 0) return SQLITE_INTERRUPT;
    }
    uint64_t total = (uint64_t)sqlite3_backup_pagecount(b);
    if (rc != SQLITE_DONE) return rc;
    return store_job_go_on(job, total, total) < 0 ? SQLITE_INTERRUPT : SQLITE_OK;
}

/* The head row of a copy: as if it had been closed, and far above what the original may still
 * give. */
static int step(struct db *to) {
    sqlite3_stmt *q = db_sql(to, SQL_HEAD);
    int err = db_row(to, q);
    if (err <= 0) return err == 0 ? E_DAMAGED : err;
    char epoch[STORE_EPOCH_LENGTH];
    struct slice s = db_slice(q, 0);
    uint64_t last = db_u64(q, 1), commits = db_u64(q, 2);
    bool sound =
        s.n == sizeof epoch && sum_head(s, last, commits, sqlite3_column_int(q, 3)) ==
                                   sqlite3_column_int64(q, 4);
    if (sound) memcpy(epoch, s.p, sizeof epoch);
    db_done(q);
    if (!sound) return E_DAMAGED;
    if (last > INT64_MAX - 2 * STORE_COPY_STEP) return E_FULL;
    last += STORE_COPY_STEP;
    s = slice_of(epoch, sizeof epoch);
    return db_run(to,
                  db_bind(to, SQL_HEAD_SET, "siiii", s, (int64_t)last, (int64_t)commits,
                          (int64_t)1, sum_head(s, last, commits, true)));
}

/* Nobody looks at a copy before it has its name: it needs neither a journal nor syncs. */
static int copy_to(struct db *from, const char *path, struct store_job *job) {
    static const char quick[] = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;";
    struct db to = {0};
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    int rc = sqlite3_open_v2(path, &to.handle, flags, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_exec(to.handle, quick, NULL, NULL, NULL);
    sqlite3_backup *b = rc == SQLITE_OK
                            ? sqlite3_backup_init(to.handle, "main", from->handle, "main")
                            : NULL;
    if (b) rc = copy(b, job);
    int end = b ? sqlite3_backup_finish(b) : SQLITE_OK;
    if (rc == SQLITE_OK) rc = end;
    int err = rc == SQLITE_OK ? step(&to) : db_fail(&to, rc);
    if (err < 0 && !job->ended)
        job->why = why_says("the copy '%s' cannot be made: %s", path,
                            err == E_DAMAGED ? "the store is damaged: look with verify"
                                             : sqlite3_errstr(to.rc));
    db_close(&to);
    return err;
}

/* The copy has no lock that knows of them. */
static int refuse_older(struct place *p, struct store_job *job) {
    uint64_t missing = place_missing(p);
    if (missing == 0) return 0;
    job->why =
        why_says("the last %" PRIu64 " commits are not in '%s', and a copy would not "
                 "say so: look with verify; a server that starts tells its readers",
                 missing, p->file);
    return E_DAMAGED;
}

int store_backup(const struct store_place *where, const char *path, bool replace,
                 struct store_job *job) {
    struct place place;
    struct output out;
    int err = place_open(&place, where, job);
    if (err < 0) return err;
    err = refuse_older(&place, job);
    if (err < 0) return place_close(&place, job, err);
    err = output_open(&out, path, replace, &job->why);
    if (err == 0) err = copy_to(&place.db, out.part, job);
    err = place_close(&place, job, err);
    return output_close(&out, err, &job->why);
}
