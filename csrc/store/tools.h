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

/* How far a long work is; total 0: not known. Called often. Not 0 ends it (E_CLOSED). */
typedef int store_progress_fn(void *arg, uint64_t done, uint64_t total);

/* One work: what it reports to, and a sentence about its failure. */
struct store_job {
    store_progress_fn *progress; /* NULL: it cannot be ended */
    void *arg;
    const char *
        why; /* out: lives until the next call on this thread; NULL: the status says all */
    bool ended;       /* progress has said so */
    uint64_t damaged; /* out, of an export: rows that were not what was written */
    bool incomplete;  /* out, of an export: rows may be missing that nothing tells of */
};

/* Report; E_CLOSED when it is to end. */
int store_job_go_on(struct store_job *j, uint64_t done, uint64_t total);

enum store_fault {
    STORE_DAMAGED, /* a row or page is not what was written */
    STORE_MISSING, /* a row is not there that should be */
    STORE_STALE    /* a newest value is not the newest */
};

/* Something that is wrong. Slices are borrowed until the call returns. */
struct store_finding {
    enum store_fault fault;
    struct slice channel; /* of which channel, or which key-value store; empty: of none */
    uint64_t seq;         /* the number of the event; 0: none */
    const char *text;     /* what is wrong */
    const char *lost;     /* what that costs */
};

struct store_verdict {
    uint64_t rows;    /* of all tables that were looked at */
    uint64_t damaged; /* wrong checksums, pages SQLite finds wrong */
    uint64_t holes;   /* rows that are missing between two of a channel */
    uint64_t stale;   /* newest values that are not the newest */
    uint64_t
        lost; /* rows in place of events that were lost before: no fault of the file */
    char epoch[STORE_EPOCH_LENGTH + 1];
};

/* Read and check every row; 'found' gets all that is wrong. 0 (see the verdict), E_NOTFOUND
 * (there is none), E_DAMAGED (it cannot be opened), E_STORE, E_INVAL or E_CLOSED. */
typedef void store_found_fn(void *arg, const struct store_finding *f);
int store_verify(const struct store_place *where, struct store_job *job,
                 store_found_fn *found, struct store_verdict *out);

struct store_figures {
    char epoch[STORE_EPOCH_LENGTH + 1];
    uint64_t head;
    bool clean;
    int holder;                   /* the process that has the folder; 0: none */
    int version;                  /* of the schema */
    uint64_t logs, states, keyed; /* durable channels by kind */
    uint64_t patterns;            /* durable patterns */
    uint64_t former;              /* channels and patterns that were durable */
    uint64_t events, event_bytes, newest, newest_bytes, keys, pairs, pair_bytes, tasks;
    int64_t oldest_ms, newest_ms, due_ms; /* events; the next task; 0: none */
    uint64_t bytes, wal_bytes;            /* of the files */
};
int store_figures(const struct store_place *where, struct store_job *job,
                  struct store_figures *out);

/* Copy the file as it is at one moment to 'path'; unless 'replace', there must be none. Same
 * errors, or a negative errno. The copy is a whole store: put it into an empty folder as
 * sluice.db. Its numbers go on far above (STORE_COPY_STEP), so that what the original gives
 * meanwhile never comes again. */
int store_backup(const struct store_place *where, const char *path, bool replace,
                 struct store_job *job);

/* Write everything as text that a later version and another database can read; see
 * export.c. 'path' NULL: to standard output. What is damaged stays it: an event becomes one
 * that is lost, and what else is damaged is left out, as a server leaves it out. Both are
 * counted in the job. Where commits are not in the file, or its structure is not whole, more may
 * be missing: each durable channel ends with an event that is lost. E_DAMAGED when the head row or
 * that of a channel is damaged. */
int store_export(const struct store_place *where, const char *path, bool replace,
                 struct store_job *job);

/* Make a store of such a text ('path' NULL: of standard input). The folder must have none;
 * nothing is left there when it fails. Epoch (unless 'renew') and numbers are kept, with
 * a step as of a backup. */
int store_import(const struct store_place *where, const char *path, bool renew,
                 struct store_job *job);

#endif
