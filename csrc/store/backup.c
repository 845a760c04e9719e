/* A copy of the file as it is at one moment, page by page, while its server goes on writing:
 * the read transaction holds the moment. [one thread] */
#include "base/mem.h"
#include "base/status.h"
#include "store/output.h"
#include "store/place.h"

#include <fcntl.h>
#include <unistd.h>

#define STEP_PAGES 256

static int copy(sqlite3_backup *b, store_progress_fn *progress, void *arg) {
    int rc;
    while ((rc = sqlite3_backup_step(b, STEP_PAGES)) == SQLITE_OK) {
        uint64_t total = (uint64_t)sqlite3_backup_pagecount(b);
        uint64_t done = total - (uint64_t)sqlite3_backup_remaining(b);
        if (progress && progress(arg, done, total)) return E_CLOSED;
    }
    if (rc != SQLITE_DONE) return (rc & 0xff) == SQLITE_CORRUPT ? E_DAMAGED : E_STORE;
    uint64_t total = (uint64_t)sqlite3_backup_pagecount(b);
    return progress && progress(arg, total, total) ? E_CLOSED : 0;
}

static int copy_to(struct db *from, const char *path, store_progress_fn *progress,
                   void *arg) {
    sqlite3 *to = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    int err = sqlite3_open_v2(path, &to, flags, NULL) == SQLITE_OK ? 0 : E_STORE;
    sqlite3_backup *b =
        err == 0 ? sqlite3_backup_init(to, "main", from->handle, "main") : NULL;
    if (err == 0 && !b) err = E_STORE;
    if (b) err = copy(b, progress, arg);
    if (b && sqlite3_backup_finish(b) != SQLITE_OK && err == 0) err = E_STORE;
    sqlite3_close(to);
    return err;
}

int store_backup(const struct store_place *where, const char *path,
                 store_progress_fn *progress, void *arg) {
    struct place place;
    struct output out;
    int err = place_open(&place, where);
    if (err < 0) return err;
    err = output_open(&out, path);
    if (err == 0) err = copy_to(&place.db, out.part, progress, arg);
    place_close(&place);
    return output_close(&out, err);
}
