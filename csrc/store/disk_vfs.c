/* SQLite's side of a disk in memory: files, locks and shared memory as the methods of a VFS.
 * A handle whose process died gets SQLITE_IOERR for everything. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "store/disk_file.h"

#include <assert.h>
#include <time.h>
#include <unistd.h>

static struct disk_handle *handle_of(sqlite3_file *file) {
    return (struct disk_handle *)(void *)file;
}

/* Under the lock from here on, whatever it returns. */
static bool is_alive(const struct disk_handle *h) {
    pthread_mutex_lock(&h->disk->lock);
    return h->life == h->disk->life && !h->disk->dead;
}

static int leave(const struct disk_handle *h, int rc) {
    pthread_mutex_unlock(&h->disk->lock);
    return rc;
}

/* ---- Bytes -------------------------------------------------------------------------- */

static int on_read(sqlite3_file *file, void *p, int n, sqlite3_int64 at) {
    struct disk_handle *h = handle_of(file);
    if (!is_alive(h)) return leave(h, SQLITE_IOERR_READ);
    const struct buf *cache = &h->file->cache;
    size_t wanted = (size_t)n, there = (size_t)at < cache->n ? cache->n - (size_t)at : 0;
    if (there > wanted) there = wanted;
    if (there > 0) memcpy(p, cache->p + at, there);
    memset((char *)p + there, 0, wanted - there);
    return leave(h, there < wanted ? SQLITE_IOERR_SHORT_READ : SQLITE_OK);
}

static int on_write(sqlite3_file *file, const void *p, int n, sqlite3_int64 at) {
    struct disk_handle *h = handle_of(file);
    if (!is_alive(h)) return leave(h, SQLITE_IOERR_WRITE);
    return leave(h, disk_write(h->disk, h->file, p, (size_t)n, (uint64_t)at));
}

static int on_truncate(sqlite3_file *file, sqlite3_int64 size) {
    struct disk_handle *h = handle_of(file);
    if (!is_alive(h)) return leave(h, SQLITE_IOERR_TRUNCATE);
    return leave(h, disk_shorten(h->disk, h->file, (uint64_t)size));
}

static int on_sync(sqlite3_file *file, int flags) {
    (void)flags;
    struct disk_handle *h = handle_of(file);
    if (!is_alive(h)) return leave(h, SQLITE_IOERR_FSYNC);
    return leave(h, disk_sync(h->disk, h->file));
}

static int on_size(sqlite3_file *file, sqlite3_int64 *size) {
    struct disk_handle *h = handle_of(file);
    if (!is_alive(h)) return leave(h, SQLITE_IOERR_FSTAT);
    *size = (sqlite3_int64)h->file->cache.n;
    return leave(h, SQLITE_OK);
}

/* ---- Locks -------------------------------------------------------------------------- */

/* The strongest lock of the other handles that are alive. */
static int others(const struct disk_handle *h) {
    int level = SQLITE_LOCK_NONE;
    const struct list *head = &h->file->handles;
    for (const struct list *l = head->next; l != head; l = l->next) {
        const struct disk_handle *other = container_of(l, struct disk_handle, node);
        if (other != h && other->life == h->life && other->level > level)
            level = other->level;
    }
    return level;
}

static int on_lock(sqlite3_file *file, int level) {
    struct disk_handle *h = handle_of(file);
    if (!is_alive(h)) return leave(h, SQLITE_IOERR_LOCK);
    if (h->level >= level) return leave(h, SQLITE_OK);
    int other = others(h);
    bool fine = level == SQLITE_LOCK_SHARED ? other < SQLITE_LOCK_PENDING
                                            : other < SQLITE_LOCK_RESERVED;
    if (fine && level == SQLITE_LOCK_EXCLUSIVE && other >= SQLITE_LOCK_SHARED) {
        h->level = SQLITE_LOCK_PENDING;
        fine = false;
    }
    if (fine) h->level = level;
    return leave(h, fine ? SQLITE_OK : SQLITE_BUSY);
}

static int on_unlock(sqlite3_file *file, int level) {
    struct disk_handle *h = handle_of(file);
    bool alive = is_alive(h);
    if (level < h->level) h->level = level;
    return leave(h, alive ? SQLITE_OK : SQLITE_IOERR_UNLOCK);
}

static int on_check_reserved(sqlite3_file *file, int *reserved) {
    struct disk_handle *h = handle_of(file);
    if (!is_alive(h)) return leave(h, SQLITE_IOERR_CHECKRESERVEDLOCK);
    *reserved = others(h) >= SQLITE_LOCK_RESERVED;
    return leave(h, SQLITE_OK);
}

/* ---- Shared memory ------------------------------------------------------------------- */

static int on_shm_map(sqlite3_file *file, int region, int size, int extend,
                      void volatile **out) {
    struct disk_handle *h = handle_of(file);
    *out = NULL;
    if (!is_alive(h) || region >= DISK_REGIONS_MAX) return leave(h, SQLITE_IOERR_SHMMAP);
    if (!h->maps) h->file->n_maps++;
    h->maps = true;
    char **p = &h->file->regions[region];
    if (!*p && extend) *p = mem_new((size_t)size);
    *out = *p;
    return leave(h, SQLITE_OK);
}

static int on_shm_lock(sqlite3_file *file, int first, int n, int flags) {
    struct disk_handle *h = handle_of(file);
    unsigned mask = ((1u << n) - 1) << first;
    bool alive = is_alive(h);
    if (flags & SQLITE_SHM_UNLOCK) {
        h->shm_shared &= ~mask;
        h->shm_exclusive &= ~mask;
        return leave(h, SQLITE_OK);
    }
    if (!alive) return leave(h, SQLITE_IOERR_SHMLOCK);
    const struct list *head = &h->file->handles;
    for (const struct list *l = head->next; l != head; l = l->next) {
        const struct disk_handle *other = container_of(l, struct disk_handle, node);
        if (other == h || other->life != h->life) continue;
        unsigned theirs = other->shm_exclusive;
        if (flags & SQLITE_SHM_EXCLUSIVE) theirs |= other->shm_shared;
        if (theirs & mask) return leave(h, SQLITE_BUSY);
    }
    if (flags & SQLITE_SHM_EXCLUSIVE) h->shm_exclusive |= mask;
    else h->shm_shared |= mask;
    return leave(h, SQLITE_OK);
}

static void on_shm_barrier(sqlite3_file *file) {
    (void)file;
    atomic_thread_fence(memory_order_seq_cst);
}

static int on_shm_unmap(sqlite3_file *file, int deletes) {
    (void)deletes; /* the last one does anyway: memory dies with its process */
    struct disk_handle *h = handle_of(file);
    bool alive = is_alive(h);
    if (h->maps && h->life == h->disk->life && --h->file->n_maps == 0)
        disk_free_regions(h->file);
    (void)alive;
    h->maps = false;
    h->shm_shared = h->shm_exclusive = 0;
    return leave(h, SQLITE_OK);
}

/* ---- Files -------------------------------------------------------------------------- */

static int on_close(sqlite3_file *file) {
    struct disk_handle *h = handle_of(file);
    on_shm_unmap(file, 0);
    pthread_mutex_lock(&h->disk->lock);
    list_remove(&h->node);
    if (!h->file->name && list_empty(&h->file->handles)) disk_forget(h->file);
    return leave(h, SQLITE_OK);
}

static int on_control(sqlite3_file *file, int op, void *arg) {
    (void)file, (void)op, (void)arg;
    return SQLITE_NOTFOUND;
}

static int on_sector(sqlite3_file *file) {
    (void)file;
    return 4096; /* as SQLite's own for Unix */
}

static int on_traits(sqlite3_file *file) {
    (void)file;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

const sqlite3_io_methods disk_methods = {
    2,         on_close,   on_read,     on_write,          on_truncate,  on_sync,
    on_size,   on_lock,    on_unlock,   on_check_reserved, on_control,   on_sector,
    on_traits, on_shm_map, on_shm_lock, on_shm_barrier,    on_shm_unmap, NULL,
    NULL};

static int on_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                   int *out_flags) {
    struct disk *d = vfs->pAppData;
    struct disk_handle *h = handle_of(file);
    file->pMethods = NULL;
    pthread_mutex_lock(&d->lock);
    struct disk_file *f = name ? disk_find(d, slice_str(name)) : NULL;
    if (!f && !d->dead && (flags & SQLITE_OPEN_CREATE)) f = disk_make(d, name);
    if (f && !d->dead) {
        *h = (struct disk_handle){.disk = d, .file = f, .life = d->life};
        list_add(&f->handles, &h->node);
        file->pMethods = &disk_methods;
        if (out_flags) *out_flags = flags;
    }
    pthread_mutex_unlock(&d->lock);
    return file->pMethods ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int on_delete(sqlite3_vfs *vfs, const char *name, int sync) {
    (void)sync;
    struct disk *d = vfs->pAppData;
    pthread_mutex_lock(&d->lock);
    struct disk_file *f = disk_find(d, slice_str(name));
    int rc = d->dead ? SQLITE_IOERR_DELETE : f ? SQLITE_OK : SQLITE_IOERR_DELETE_NOENT;
    if (rc == SQLITE_OK && list_empty(&f->handles)) disk_forget(f);
    else if (rc == SQLITE_OK) {
        mem_free(f->name);
        f->name = NULL;
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static int on_access(sqlite3_vfs *vfs, const char *name, int flags, int *there) {
    (void)flags;
    struct disk *d = vfs->pAppData;
    *there = disk_has(d, slice_str(name));
    return SQLITE_OK;
}

static int on_full_path(sqlite3_vfs *vfs, const char *name, int n, char *out) {
    (void)vfs;
    sqlite3_snprintf(n, out, "%s", name);
    return SQLITE_OK;
}

static int on_random(sqlite3_vfs *vfs, int n, char *out) {
    struct disk *d = vfs->pAppData;
    pthread_mutex_lock(&d->lock);
    for (int i = 0; i < n; i++) out[i] = (char)rand_next(&d->rand);
    pthread_mutex_unlock(&d->lock);
    return n;
}

static int on_sleep(sqlite3_vfs *vfs, int us) {
    (void)vfs;
    usleep((useconds_t)us);
    return us;
}

static int on_time64(sqlite3_vfs *vfs, sqlite3_int64 *out) {
    (void)vfs;
    const sqlite3_int64 unix_epoch = 24405875 * (sqlite3_int64)8640000;
    *out = unix_epoch + (sqlite3_int64)(clock_wall() * 1000);
    return SQLITE_OK;
}

static int on_time(sqlite3_vfs *vfs, double *out) {
    sqlite3_int64 ms = 0;
    on_time64(vfs, &ms);
    *out = (double)ms / 86400000.0;
    return SQLITE_OK;
}

static int on_last_error(sqlite3_vfs *vfs, int n, char *out) {
    (void)vfs, (void)n, (void)out;
    return 0;
}

void disk_vfs_init(struct disk *d) {
    d->vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = (int)sizeof(struct disk_handle),
        .mxPathname = 512,
        .pAppData = d,
        .xOpen = on_open,
        .xDelete = on_delete,
        .xAccess = on_access,
        .xFullPathname = on_full_path,
        .xRandomness = on_random,
        .xSleep = on_sleep,
        .xCurrentTime = on_time,
        .xGetLastError = on_last_error,
        .xCurrentTimeInt64 = on_time64,
    };
}
