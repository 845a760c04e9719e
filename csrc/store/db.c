/* SQLite as the store uses it; see db.h.
 *
 * SQLite before 3.51.3 can lose commits when one connection checkpoints while another
 * commits, so only the one that writes ever checkpoints, and only when it is asked to. */
#include "store/db.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>

/* SQLite's small blocks: cursors and rows of an insert fit, so that none is allocated. */
#define LOOKASIDE_BYTES 2400
#define LOOKASIDE_SLOTS 128

static const char setup_write[] =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = "
    "0; "
    "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192; PRAGMA trusted_schema = OFF; "
    "PRAGMA cell_size_check = ON; PRAGMA secure_delete = FAST; "
    "PRAGMA journal_size_limit = 16777216;"; /* above what a checkpoint waits for */
static const char setup_weak[] = "PRAGMA synchronous = NORMAL;";
static const char setup_read[] =
    "PRAGMA query_only = ON; PRAGMA wal_autocheckpoint = 0; PRAGMA temp_store = MEMORY; "
    "PRAGMA cache_size = -2048; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = "
    "ON;";

int db_fail(struct db *db, int rc) {
    db->rc = rc;
    switch (rc & 0xff) {
    case SQLITE_OK: return 0;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return E_DAMAGED;
    case SQLITE_NOMEM: return E_NOMEM;
    default: return E_STORE;
    }
}

/* NULL: nothing has read or written it yet. */
static sqlite3_file *log_of(sqlite3 *handle) {
    sqlite3_file *log = NULL;
    sqlite3_file_control(handle, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
    return log && log->pMethods ? log : NULL;
}

/* The error number of the last call that failed on the log. */
static int log_errno(sqlite3 *handle) {
    sqlite3_file *log = log_of(handle);
    int err = 0;
    if (log) log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &err);
    return err;
}

bool db_was_full(const struct db *db) {
    int rc = db->rc & 0xff;
    int err = rc == SQLITE_IOERR && db->handle ? log_errno(db->handle) : 0;
    return rc == SQLITE_FULL || err == EDQUOT || err == EFBIG;
}

static int on_wal(void *arg, sqlite3 *handle, const char *name, int frames) {
    (void)handle, (void)name;
    ((struct db *)arg)->wal_frames = (uint64_t)frames;
    return SQLITE_OK;
}

static int set_up(struct db *db, enum db_mode mode) {
    sqlite3_extended_result_codes(db->handle, 1);
    sqlite3_busy_timeout(db->handle, STORE_BUSY_MS);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_LOOKASIDE, NULL, LOOKASIDE_BYTES,
                      LOOKASIDE_SLOTS);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (mode == DB_READ) return db_script(db, setup_read);
    int err = db_script(db, setup_write);
    if (err == 0 && mode == DB_WEAK) err = db_script(db, setup_weak);
    sqlite3_wal_hook(db->handle, on_wal, db); /* the pragma above takes it away */
    return err;
}

int db_open(struct db *db, const char *file, const char *vfs, enum db_mode mode) {
    *db = (struct db){0};
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_PRIVATECACHE |
                SQLITE_OPEN_READWRITE;
    if (mode != DB_READ) flags |= SQLITE_OPEN_CREATE;
    int rc = sqlite3_open_v2(file, &db->handle, flags, vfs);
    int err = rc == SQLITE_OK ? set_up(db, mode) : db_fail(db, rc);
    if (err < 0) {
        rc = db->rc;
        db_close(db);
        db->rc = rc;
    }
    return err;
}

void db_close(struct db *db) {
    for (int i = 0; i < SQL_STATEMENTS; i++) sqlite3_finalize(db->kept[i]);
    int rc = sqlite3_close(db->handle);
    assert(rc == SQLITE_OK);
    (void)rc;
    *db = (struct db){0};
}

sqlite3_stmt *db_sql(struct db *db, enum db_sql which) {
    if (db->kept[which]) return db->kept[which];
    int rc = sqlite3_prepare_v3(db->handle, db_texts[which], -1,
                                SQLITE_PREPARE_PERSISTENT, &db->kept[which], NULL);
    if (rc != SQLITE_OK) db_fail(db, rc);
    return db->kept[which];
}

static void give_bytes(sqlite3_stmt *stmt, int i, char type, struct slice s) {
    const char *p = s.p ? s.p : "";
    if (type == 's') sqlite3_bind_text64(stmt, i, p, s.n, SQLITE_STATIC, SQLITE_UTF8);
    else sqlite3_bind_blob64(stmt, i, p, s.n, SQLITE_STATIC);
}

static void give(sqlite3_stmt *stmt, int first, const char *types, va_list args) {
    for (int i = first; *types; i++, types++) {
        if (*types == 'i') sqlite3_bind_int64(stmt, i, va_arg(args, int64_t));
        else give_bytes(stmt, i, *types, va_arg(args, struct slice));
    }
}

sqlite3_stmt *db_bind(struct db *db, enum db_sql which, const char *types, ...) {
    sqlite3_stmt *stmt = db_sql(db, which);
    va_list args;
    va_start(args, types);
    if (stmt) give(stmt, 1, types, args);
    va_end(args);
    return stmt;
}

void db_give(sqlite3_stmt *stmt, int first, const char *types, ...) {
    va_list args;
    va_start(args, types);
    give(stmt, first, types, args);
    va_end(args);
}

void db_done(sqlite3_stmt *stmt) {
    if (stmt) sqlite3_reset(stmt);
}

int db_row(struct db *db, sqlite3_stmt *stmt) {
    if (!stmt) return db_fail(db, db->rc);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) return 1;
    sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? 0 : db_fail(db, rc);
}

int db_run(struct db *db, sqlite3_stmt *stmt) {
    int err = db_row(db, stmt);
    if (err > 0) { /* BEGIN, PRAGMA: a row that nothing asks for */
        db_done(stmt);
        err = 0;
    }
    return err;
}

int db_number(struct db *db, sqlite3_stmt *stmt, int64_t none, int64_t *out) {
    int err = db_row(db, stmt);
    *out = none;
    if (err <= 0) return err;
    if (sqlite3_column_type(stmt, 0) != SQLITE_NULL) *out = sqlite3_column_int64(stmt, 0);
    db_done(stmt);
    return 0;
}

int db_ask(struct db *db, const char *sql, int64_t *out) {
    sqlite3_stmt *stmt = NULL;
    *out = 0;
    int rc = sqlite3_prepare_v2(db->handle, sql, -1, &stmt, NULL);
    int err = rc == SQLITE_OK ? db_number(db, stmt, 0, out) : db_fail(db, rc);
    sqlite3_finalize(stmt);
    return err;
}

struct slice db_slice(sqlite3_stmt *stmt, int column) {
    const char *p = sqlite3_column_blob(stmt, column);
    return slice_of(p ? p : "", (size_t)sqlite3_column_bytes(stmt, column));
}

uint64_t db_u64(sqlite3_stmt *stmt, int column) {
    return (uint64_t)sqlite3_column_int64(stmt, column);
}

int db_script(struct db *db, const char *sql) {
    int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : db_fail(db, rc);
}

int db_checkpoint(struct db *db, bool whole) {
    int log = 0, done = 0;
    int mode = whole ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
    int rc = sqlite3_wal_checkpoint_v2(db->handle, NULL, mode, &log, &done);
    if (rc == SQLITE_BUSY || (rc == SQLITE_OK && whole && done < log)) return E_BUSY;
    if (rc != SQLITE_OK) return db_fail(db, rc);
    if (whole) db->wal_frames = 0;
    return 0;
}

#define FRAME_HEAD 24 /* before each page of the log */

/* The log's index lies in memory that all who have the file open share. It begins with a
 * version; at byte 14 is the size of a page (1: 65536), at byte 16 how many frames of the
 * log are valid, each a page behind 24 bytes. */
uint64_t db_log_bytes(const struct db *db) {
    enum { INDEX_BYTES = 32768, VERSION = 3007000, HEAD = 32 };
    sqlite3_file *file = NULL;
    void volatile *index = NULL;
    sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    if (!file || !file->pMethods || file->pMethods->iVersion < 2) return 0;
    int rc = file->pMethods->xShmMap(file, 0, INDEX_BYTES, 0, &index);
    if (rc != SQLITE_OK || !index) return 0;
    const uint32_t volatile *words = index;
    const uint16_t volatile *halves = index;
    uint64_t frames = words[0] == VERSION ? words[4] : 0;
    uint64_t page = halves[7] == 1 ? 65536 : halves[7];
    return frames ? HEAD + frames * (FRAME_HEAD + page) : 0;
}

static int write_again(sqlite3_file *log, sqlite3_int64 size, char *bytes) {
    int rc = SQLITE_OK, n;
    for (sqlite3_int64 at = 0; rc == SQLITE_OK && at < size; at += n) {
        n = size - at < GATHER_MAX ? (int)(size - at) : GATHER_MAX;
        rc = log->pMethods->xRead(log, bytes, n, at);
        if (rc == SQLITE_OK) rc = log->pMethods->xWrite(log, bytes, n, at);
    }
    return rc == SQLITE_OK ? log->pMethods->xSync(log, SQLITE_SYNC_NORMAL) : rc;
}

int db_log_again(struct db *db) {
    uint64_t size = db_log_bytes(db);
    sqlite3_file *log = log_of(db->handle);
    if (!log || size == 0 || PLANTED(222)) return 0;
    char *bytes = mem_try(GATHER_MAX);
    if (!bytes) return E_NOMEM;
    int rc = write_again(log, (sqlite3_int64)size, bytes);
    mem_free(bytes);
    return rc == SQLITE_OK ? 0 : db_fail(db, rc);
}

static int write_zeros(sqlite3_file *log, sqlite3_int64 size) {
    char *zeros = mem_try(GATHER_MAX);
    if (!zeros) return SQLITE_NOMEM;
    memset(zeros, 0, GATHER_MAX);
    int rc = SQLITE_OK;
    for (sqlite3_int64 at = 0; rc == SQLITE_OK && at < size; at += GATHER_MAX)
        rc = log->pMethods->xWrite(log, zeros, GATHER_MAX, at);
    mem_free(zeros);
    return rc == SQLITE_OK ? log->pMethods->xSync(log, SQLITE_SYNC_NORMAL) : rc;
}

void db_reserve_log(struct db *db, uint32_t pages) {
    sqlite3_file *log = log_of(db->handle);
    sqlite3_int64 size = 0;
    int64_t page = 0;
    if (!log || db_ask(db, "PRAGMA page_size", &page) < 0) return;
    if (log->pMethods->xFileSize(log, &size) != SQLITE_OK || size > 0) return;
    if (write_zeros(log, pages * (FRAME_HEAD + page)) != SQLITE_OK)
        log->pMethods->xTruncate(log, 0);
}

int64_t db_changes(const struct db *db) {
    return sqlite3_changes64(db->handle);
}
