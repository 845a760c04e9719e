/* Gathering writes; see gather_vfs.h. */
#include "store/gather_vfs.h"

#include "base/bounds.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* A frame of the log is a header, whose second number says that it ends a transaction, and a
 * page (SQLite, "WAL-mode File Format"). */
#define FRAME_HEADER 24

/* An open file; behind it lies the base's. */
struct gathered {
    sqlite3_file file;
    bool is_log;
    bool ends;    /* the last header is of a frame that ends a transaction */
    bool in_part; /* a reader keeps this checkpoint from copying the whole log */
    size_t n;
    sqlite3_int64 at; /* where the gathered bytes belong */
    char *bytes;
};

static struct gathered *gathered_of(sqlite3_file *file) {
    return (struct gathered *)(void *)file;
}

static sqlite3_file *real_of(sqlite3_file *file) {
    return (sqlite3_file *)(void *)(gathered_of(file) + 1);
}

#define CALL(file, method, ...) \
    real_of(file)->pMethods->method(real_of(file), __VA_ARGS__)

/* ---- Gathering ------------------------------------------------------------------------ */

/* What could not be written is gone: SQLite takes the whole transaction back, or copies the
 * log again. */
static int flush(sqlite3_file *file) {
    struct gathered *g = gathered_of(file);
    size_t n = g->n;
    g->n = 0;
    return n == 0 ? SQLITE_OK : CALL(file, xWrite, g->bytes, (int)n, g->at);
}

/* Whether a transaction is whole with these bytes: without a sync others may see it now. */
static bool ends_with(struct gathered *g, const unsigned char *p, int n) {
    if (!g->is_log) return false;
    if (n != FRAME_HEADER) return g->ends;
    g->ends = (p[4] | p[5] | p[6] | p[7]) != 0;
    return false;
}

static int on_write(sqlite3_file *file, const void *p, int n, sqlite3_int64 at) {
    struct gathered *g = gathered_of(file);
    size_t size = (size_t)n;
    bool fits = at == g->at + (sqlite3_int64)g->n && g->n + size <= GATHER_MAX;
    int rc = fits ? SQLITE_OK : flush(file);
    if (rc != SQLITE_OK) return rc;
    if (size > GATHER_MAX) return CALL(file, xWrite, p, n, at);
    if (g->n == 0) g->at = at;
    memcpy(g->bytes + g->n, p, size);
    g->n += size;
    return ends_with(g, p, n) || g->in_part ? flush(file) : SQLITE_OK;
}

/* ---- What needs it written ------------------------------------------------------------ */

/* Only what SQLite asks for an error: the end of a checkpoint, which it tells with a control,
 * is followed by a sync, where the whole log was copied (see in_part). */

static int on_read(sqlite3_file *file, void *p, int n, sqlite3_int64 at) {
    int rc = flush(file);
    return rc == SQLITE_OK ? CALL(file, xRead, p, n, at) : rc;
}

static int on_truncate(sqlite3_file *file, sqlite3_int64 size) {
    int rc = flush(file);
    return rc == SQLITE_OK ? CALL(file, xTruncate, size) : rc;
}

static int on_sync(sqlite3_file *file, int flags) {
    int rc = flush(file);
    return rc == SQLITE_OK ? CALL(file, xSync, flags) : rc;
}

static int on_size(sqlite3_file *file, sqlite3_int64 *size) {
    int rc = flush(file);
    return rc == SQLITE_OK ? CALL(file, xFileSize, size) : rc;
}

static int on_close(sqlite3_file *file) {
    int rc = flush(file), closed = real_of(file)->pMethods->xClose(real_of(file));
    mem_free(gathered_of(file)->bytes);
    return rc == SQLITE_OK ? closed : rc;
}

/* ---- What does not -------------------------------------------------------------------- */

static int on_control(sqlite3_file *file, int op, void *arg) {
    return CALL(file, xFileControl, op, arg);
}

static int on_lock(sqlite3_file *file, int level) {
    return CALL(file, xLock, level);
}

static int on_unlock(sqlite3_file *file, int level) {
    return CALL(file, xUnlock, level);
}

static int on_check_reserved(sqlite3_file *file, int *reserved) {
    return CALL(file, xCheckReservedLock, reserved);
}

static int on_sector(sqlite3_file *file) {
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int on_traits(sqlite3_file *file) {
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int on_shm_map(sqlite3_file *file, int region, int size, int extend,
                      void volatile **out) {
    return CALL(file, xShmMap, region, size, extend, out);
}

/* A checkpoint takes its lock first. One that a reader holds up is then refused the lock of
 * that reader's place in the log: it copies what lies before it, without a sync, and at once
 * others read that from the file. */
static int on_shm_lock(sqlite3_file *file, int first, int n, int flags) {
    enum { CHECKPOINT = 1, PLACES = 4, TAKES = SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE };
    struct gathered *g = gathered_of(file);
    int rc = CALL(file, xShmLock, first, n, flags);
    if (flags == TAKES && first <= CHECKPOINT) g->in_part = false;
    if (flags == TAKES && first >= PLACES && rc == SQLITE_BUSY) g->in_part = true;
    return rc;
}

static void on_shm_barrier(sqlite3_file *file) {
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int on_shm_unmap(sqlite3_file *file, int deletes) {
    return CALL(file, xShmUnmap, deletes);
}

/* Version 2: a file is never mapped. */
static const sqlite3_io_methods methods = {
    2,         on_close,   on_read,     on_write,          on_truncate,  on_sync,
    on_size,   on_lock,    on_unlock,   on_check_reserved, on_control,   on_sector,
    on_traits, on_shm_map, on_shm_lock, on_shm_barrier,    on_shm_unmap, NULL,
    NULL};

/* ---- Opening -------------------------------------------------------------------------- */

static int on_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                   int *out_flags) {
    sqlite3_vfs *base = ((struct gather_vfs *)(void *)vfs)->base;
    if (!(flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_DB)))
        return base->xOpen(base, name, file, flags, out_flags);
    struct gathered *g = gathered_of(file);
    *g = (struct gathered){.is_log = flags & SQLITE_OPEN_WAL,
                           .bytes = mem_try(GATHER_MAX)};
    if (!g->bytes) return SQLITE_NOMEM;
    int rc = base->xOpen(base, name, real_of(file), flags, out_flags);
    if (real_of(file)->pMethods) file->pMethods = &methods;
    else mem_free(g->bytes);
    return rc;
}

void gather_vfs_begin(struct gather_vfs *v, sqlite3_vfs *base) {
    v->base = base ? base : sqlite3_vfs_find(NULL);
    v->vfs = *v->base;
    snprintf(v->name, sizeof v->name, "sluice-%p", (void *)v);
    v->vfs.zName = v->name;
    v->vfs.szOsFile += (int)sizeof(struct gathered);
    v->vfs.xOpen = on_open;
    sqlite3_vfs_register(&v->vfs, 0);
}

void gather_vfs_end(struct gather_vfs *v) {
    if (v->name[0]) sqlite3_vfs_unregister(&v->vfs);
    v->name[0] = '\0';
}
