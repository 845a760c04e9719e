/* What disk.c and disk_vfs.c share: the files of a disk in memory. All under the disk's
 * lock. */
#ifndef SLUICE_STORE_DISK_FILE_H
#define SLUICE_STORE_DISK_FILE_H

#include "base/buf.h"
#include "base/list.h"
#include "store/disk.h"
#include "store/gather_vfs.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#define DISK_REGIONS_MAX 64 /* of shared memory, 32 KiB each: a log of 1 GiB */

/* A change that waits for a sync. */
struct disk_write {
    struct disk_write *next;
    uint64_t at;
    size_t n;
    bool truncates; /* to 'at' bytes */
    char bytes[];
};

struct disk_file {
    struct list node;
    struct list handles; /* open ones */
    char *name;          /* NULL: deleted, gone with its last handle */
    struct buf cache, platter;
    struct disk_write *first, **last;
    char *regions[DISK_REGIONS_MAX];
    unsigned n_maps; /* handles that use them */
};

struct disk_fault {
    long left; /* 0: none */
    bool ever;
};

struct disk {
    pthread_mutex_t lock;
    pthread_cond_t woken;
    sqlite3_vfs vfs; /* behind the other one, which has its name */
    struct gather_vfs gather_vfs;
    struct list files;
    uint64_t rand, limit;
    unsigned life; /* handles of an earlier one are dead */
    atomic_bool dead;
    bool locked, hangs;
    atomic_int users; /* its maker, and the writer that has the lock */
    struct disk_fault write, sync, death;
    bool death_cuts;
    atomic_long steps;
};

struct disk_handle {
    sqlite3_file base;
    struct disk *disk;
    struct disk_file *file;
    struct list node;
    unsigned life;
    int level; /* SQLITE_LOCK_* */
    bool maps, is_temporary;
    unsigned shm_shared, shm_exclusive; /* bit per lock */
};

extern const sqlite3_io_methods disk_methods;
void disk_vfs_init(struct disk *d);

struct disk_file *disk_find(struct disk *d, struct slice name);
struct disk_file *disk_make(struct disk *d, const char *name); /* NULL: no name */
void disk_forget(struct disk_file *f); /* frees; it has no handle */
void disk_free_regions(struct disk_file *f);

/* Change a file; SQLITE_OK or the error that is due. */
int disk_write(struct disk *d, struct disk_file *f, const void *p, size_t n, uint64_t at);
int disk_shorten(struct disk *d, struct disk_file *f, uint64_t size);
int disk_sync(struct disk *d, struct disk_file *f);

#endif
