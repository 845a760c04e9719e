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
};

/* 0, E_NOTFOUND, E_INVAL (no store, or of another version), E_DAMAGED or as db.h, with
 * job->why. On failure nothing stays open. A read transaction has begun: all that is read is
 * of one moment. Long statements ask the job whether to go on. */
int place_open(struct place *p, const struct store_place *where, struct store_job *job);

/* Returns err, or E_CLOSED when the job was ended; sets job->why for what SQLite refused. */
int place_close(struct place *p, struct store_job *job, int err);

#endif
