/* Gathering writes; see log_vfs.h. A frame of the log is a header of 24 bytes, whose second
 * number says that it ends a transaction, and a page (SQLite, "WAL-mode File Format"). */
#include "store/log_vfs.h"

#include "base/bounds.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define FRAME_HEADER 24

/* An open log; behind it lies the base's file. */
struct log_file {
    sqlite3_file file;
    bool ends; /* the last header is of a frame that ends a transaction */
    size_t n;
    sqlite3_int64 at; /* where the gathered bytes belong */
    char *bytes;
};

static struct log_file *log_of(sqlite3_file *file) {
    return (struct log_file *)(void *)file;
}

static sqlite3_file *real_of(sqlite3_file *file) {
    return (sqlite3_file *)(void *)(log_of(file) + 1);
}

/* ---- Gathering ------------------------------------------------------------------------ */

/* What could not be written is gone: SQLite takes the whole transaction back. */
static int flush(sqlite3_file *file) {
    struct log_file *log = log_of(file);
    sqlite3_file *real = real_of(file);
    size_t n = log->n;
    log->n = 0;
    return n == 0 ? SQLITE_OK : real->pMethods->xWrite(real, log->bytes, (int)n, log->at);
}

static bool is_end(const unsigned char *header) {
    return (header[4] | header[5] | header[6] | header[7]) != 0;
}

static int on_write(sqlite3_file *file, const void *p, int n, sqlite3_int64 at) {
    struct log_file *log = log_of(file);
    size_t size = (size_t)n;
    bool fits = at == log->at + (sqlite3_int64)log->n && log->n + size <= LOG_WRITE_MAX;
    int rc = fits ? SQLITE_OK : flush(file);
    if (rc != SQLITE_OK) return rc;
    if (size > LOG_WRITE_MAX)
        return real_of(file)->pMethods->xWrite(real_of(file), p, n, at);
    if (log->n == 0) log->at = at;
    memcpy(log->bytes + log->n, p, size);
    log->n += size;
    if (n != FRAME_HEADER) return log->ends ? flush(file) : SQLITE_OK;
    log->ends = is_end(p);
    return SQLITE_OK;
}

/* ---- What needs it written ------------------------------------------------------------ */

static int on_read(sqlite3_file *file, void *p, int n, sqlite3_int64 at) {
    int rc = flush(file);
    return rc == SQLITE_OK ? real_of(file)->pMethods->xRead(real_of(file), p, n, at) : rc;
}

static int on_truncate(sqlite3_file *file, sqlite3_int64 size) {
    int rc = flush(file);
    return rc == SQLITE_OK ? real_of(file)->pMethods->xTruncate(real_of(file), size) : rc;
}

static int on_sync(sqlite3_file *file, int flags) {
    int rc = flush(file);
    return rc == SQLITE_OK ? real_of(file)->pMethods->xSync(real_of(file), flags) : rc;
}

static int on_size(sqlite3_file *file, sqlite3_int64 *size) {
    int rc = flush(file);
    return rc == SQLITE_OK ? real_of(file)->pMethods->xFileSize(real_of(file), size) : rc;
}

static int on_close(sqlite3_file *file) {
    int rc = flush(file), closed = real_of(file)->pMethods->xClose(real_of(file));
    mem_free(log_of(file)->bytes);
    return rc == SQLITE_OK ? closed : rc;
}

/* ---- What does not -------------------------------------------------------------------- */

static int on_lock(sqlite3_file *file, int level) {
    return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int on_unlock(sqlite3_file *file, int level) {
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int on_check_reserved(sqlite3_file *file, int *reserved) {
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), reserved);
}

static int on_control(sqlite3_file *file, int op, void *arg) {
    return real_of(file)->pMethods->xFileControl(real_of(file), op, arg);
}

static int on_sector(sqlite3_file *file) {
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int on_traits(sqlite3_file *file) {
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

/* A log is never shared memory, nor mapped. */
static const sqlite3_io_methods methods = {
    1,          on_close,  on_read,   on_write,  on_truncate,
    on_sync,    on_size,   on_lock,   on_unlock, on_check_reserved,
    on_control, on_sector, on_traits, NULL,      NULL,
    NULL,       NULL,      NULL,      NULL};

/* ---- Opening -------------------------------------------------------------------------- */

static int on_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                   int *out_flags) {
    sqlite3_vfs *base = ((struct log_vfs *)(void *)vfs)->base;
    if (!(flags & SQLITE_OPEN_WAL))
        return base->xOpen(base, name, file, flags, out_flags);
    struct log_file *log = log_of(file);
    *log = (struct log_file){.bytes = mem_try(LOG_WRITE_MAX)};
    if (!log->bytes) return SQLITE_NOMEM;
    int rc = base->xOpen(base, name, real_of(file), flags, out_flags);
    if (real_of(file)->pMethods) file->pMethods = &methods;
    else mem_free(log->bytes);
    return rc;
}

void log_vfs_begin(struct log_vfs *v, sqlite3_vfs *base) {
    v->base = base ? base : sqlite3_vfs_find(NULL);
    v->vfs = *v->base;
    snprintf(v->name, sizeof v->name, "sluice-%p", (void *)v);
    v->vfs.zName = v->name;
    v->vfs.szOsFile += (int)sizeof(struct log_file);
    v->vfs.xOpen = on_open;
    sqlite3_vfs_register(&v->vfs, 0);
}

void log_vfs_end(struct log_vfs *v) {
    if (v->name[0]) sqlite3_vfs_unregister(&v->vfs);
    v->name[0] = '\0';
}
