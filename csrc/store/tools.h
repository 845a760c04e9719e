/* What is done to a store as a whole. Each opens a connection of its own, which reads only
 * (but for an import), so that all work beside a server that runs. Slow: not on a thread that
 * serves. While one runs, the log of the file cannot be shortened. */
#ifndef SLUICE_STORE_TOOLS_H
#define SLUICE_STORE_TOOLS_H

#include "store/store.h"

/* Where the store is: a folder, or a disk in memory (specs). */
struct store_place {
    const char *folder;
    struct disk *disk;
};

/* How far a long work is; total 0: not known. Not 0 ends it (E_CLOSED). */
typedef int store_progress_fn(void *arg, uint64_t done, uint64_t total);

struct store_verdict {
    uint64_t rows;    /* of all tables that were looked at */
    uint64_t damaged; /* wrong checksums, pages SQLite finds wrong */
    uint64_t holes;   /* rows that are missing between two of a channel */
    uint64_t stale;   /* newest values that are not the newest */
    char first[200];  /* what was found first; empty: nothing */
};

/* Read and check every row. 0 (see the verdict), E_NOTFOUND (there is none), E_DAMAGED (it
 * cannot be opened), E_STORE, E_INVAL or E_CLOSED. */
int store_verify(const struct store_place *where, store_progress_fn *progress, void *arg,
                 struct store_verdict *out);

struct store_figures {
    char epoch[STORE_EPOCH_LENGTH + 1];
    uint64_t head;
    bool clean;
    int version; /* of the schema */
    uint64_t channels, durable, events, newest, keys, pairs, tasks;
    uint64_t bytes, wal_bytes; /* of the files */
};
int store_figures(const struct store_place *where, struct store_figures *out);

/* Copy the file as it is at one moment to 'path', which must not exist. Same errors, or a
 * negative errno. The copy is a whole store: put it into a folder as sluice.db. */
int store_backup(const struct store_place *where, const char *path,
                 store_progress_fn *progress, void *arg);

/* Write everything as text that a later version and another database can read; see
 * export.c. 'path' must not exist. */
int store_export(const struct store_place *where, const char *path,
                 store_progress_fn *progress, void *arg);

/* Make a store of such a text. The folder must have none. Epoch and numbers are kept. */
int store_import(const struct store_place *where, const char *path,
                 store_progress_fn *progress, void *arg, const char **why);

#endif
