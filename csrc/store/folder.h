/* The data folder: made on first use for its owner alone, held by one process at a time.
 *
 *      sluice-data/          0700, no symbolic link
 *        lock                flock: who has it may write; holds the process id and the mark
 *        sluice.db           and SQLite's sluice.db-wal, sluice.db-shm
 *
 * The mark says which commit was the last one. It is written after each, without a sync: it
 * survives the process, and what it names was on the disk before it. A file whose head is
 * below its mark has lost what was acknowledged.
 *
 * The lock belongs to the open file description, and goes with the process. [one thread] */
#ifndef SLUICE_STORE_FOLDER_H
#define SLUICE_STORE_FOLDER_H

#include "store/head.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define FOLDER_FILE "sluice.db"
#define FOLDER_WAL "sluice.db-wal"

struct folder {
    char *path; /* real and absolute */
    char *file; /* path/sluice.db */
    int dir, lock;
    dev_t dev;
    ino_t ino, lock_ino;
    ino_t file_ino, wal_ino; /* 0 until folder_note */
    struct timespec seen;    /* when its entries last changed; 0: look at them */
};

/* Make it if need be, and lock it. 0, E_LOCKED, E_INVAL (no folder, a link, not ours) or a
 * negative errno; *why gets a sentence. */
int folder_open(struct folder *f, const char *path, const char **why);

/* Only look: for what reads beside a server. E_NOTFOUND when it holds no store. */
int folder_look(struct folder *f, const char *path, const char **why);
void folder_close(struct folder *f);

/* Whether it holds a store's file. */
bool folder_has(const char *path);

/* From now on the files that are there are the ones that must stay there. */
void folder_note(struct folder *f);

/* The mark of the last run; false: there is none, or it is not whole. */
bool folder_marked(const struct folder *f, struct head *out);
int folder_mark(const struct folder *f, const struct head *head); /* 0, or -errno */

/* Whether the disk has room for more than a commit or two. */
bool folder_has_room(const struct folder *f);

/* The size of the log beside the file in bytes; 0: there is none. */
uint64_t folder_wal_bytes(const struct folder *f);

/* The process that has it locked, without touching the lock; 0: none, or it cannot be known. */
int folder_holder(const struct folder *f);

/* Remove the store's files, and the lock; of one that is locked by this process. */
void folder_clear(const struct folder *f);

/* NULL, or what has happened to the folder or its files: what is written now would not be
 * found by the next start. Static. */
const char *folder_trouble(struct folder *f);

#endif
