/* Where a store is, opened to be read beside the server that may run on it. [one thread] */
#ifndef SLUICE_STORE_PLACE_H
#define SLUICE_STORE_PLACE_H

#include "store/db.h"
#include "store/folder.h"
#include "store/tools.h"

struct place {
    struct folder folder;
    struct db db;
    const char *file, *vfs;
    struct head mark; /* what the folder's lock knows of; no epoch: nothing */
};

/* 0, E_NOTFOUND, E_INVAL (no store, or of another version), E_DAMAGED or as db.h, with
 * job->why. On failure nothing stays open. A read transaction has begun: all that is read is
 * of one moment. Long statements ask the job whether to go on. */
int place_open(struct place *p, const struct store_place *where, struct store_job *job);

/* How many commits the lock knows of that are not in the file: its log was damaged, or it is an
 * older copy. */
uint64_t place_missing(struct place *p);

/* Whether the structure of the file is whole (PRAGMA integrity_check): each line that says what
 * is not goes to 'found' (NULL: none is wanted). 1, 0 or a negative code. */
typedef void place_found_fn(void *arg, struct slice line);
int place_is_whole(struct place *p, place_found_fn *found, void *arg);

/* Returns err, or E_CLOSED when the job was ended; sets job->why for what SQLite refused. */
int place_close(struct place *p, struct store_job *job, int err);

#endif
