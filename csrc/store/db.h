/* A connection to the store's file: how it is set up, and the statements that are kept
 * prepared. What SQLite answers becomes 0 or E_STORE, E_DAMAGED, E_NOMEM; the last result
 * code stays in 'rc'. [one thread at a time] */
#ifndef SLUICE_STORE_DB_H
#define SLUICE_STORE_DB_H

#include "base/slice.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#define DB_ROWS_AT_ONCE 16

/* Every statement that runs more than once; the texts are in db_sql.c. */
enum db_sql {
    SQL_BEGIN,
    SQL_BEGIN_READ,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_HEAD,
    SQL_HEAD_SET,
    SQL_CHANNELS,
    SQL_CHANNEL_ADD,
    SQL_CHANNEL_SET,
    SQL_CHANNEL_FLOOR,
    SQL_CHANNEL_LAST,
    SQL_EVENTS_NEWEST,
    SQL_EVENTS_UPTO,
    SQL_EVENT_ADD,
    SQL_EVENTS_ADD,       /* DB_ROWS_AT_ONCE of them */
    SQL_EVENTS_ADD_PLAIN, /* ... of one log, which are never withdrawn and have no key */
    SQL_EVENTS_OLDEST,
    SQL_EVENTS_DEAD,
    SQL_EVENTS_ABOVE,
    SQL_EVENTS_RECENT,
    SQL_EVENT_DELETE,
    SQL_EVENTS_COUNT,
    SQL_NEWEST_PUT,
    SQL_NEWEST_HAS,
    SQL_NEWEST_HAS_KEY,
    SQL_NEWEST_REMOVE,
    SQL_NEWEST_DELETE,
    SQL_NEWEST_OLDEST,
    SQL_NEWEST_CLEAR,
    SQL_NEWEST_COUNT,
    SQL_NEWEST_ALL,
    SQL_NEWEST_OF,
    SQL_KEY_FIND,
    SQL_KEY_PUT,
    SQL_KEYS_OLDEST,
    SQL_KEY_DELETE,
    SQL_PAGE,
    SQL_KEY_OF,
    SQL_PAIR_PUT,
    SQL_PAIR_DELETE,
    SQL_PAIRS,
    SQL_TASK_PUT,
    SQL_TASK_DELETE,
    SQL_TASKS,
    SQL_ALL_EVENTS,
    SQL_ALL_KEYS,
    SQL_DATA_VERSION,
    SQL_CHECK,
    SQL_CHECK_ALL,
    SQL_PAGES,
    SQL_STATEMENTS /* how many */
};

struct db {
    sqlite3 *handle;
    sqlite3_stmt *kept[SQL_STATEMENTS];
    int rc;              /* SQLite's extended code of the last failure */
    uint64_t wal_frames; /* after the last commit */
};

enum db_mode {
    DB_WRITE, /* creates; the one that writes and checkpoints */
    DB_WEAK,  /* the same, without waiting for the disk */
    DB_READ   /* never writes, never checkpoints */
};

/* 'vfs' NULL: real files. On failure nothing stays open. */
int db_open(struct db *db, const char *file, const char *vfs, enum db_mode mode);
void db_close(struct db *db); /* fine when it is not open */

/* A kept statement, without values. NULL when it cannot be prepared: then db_fail. */
sqlite3_stmt *db_sql(struct db *db, enum db_sql which);

/* Give a statement its values, from the left: 'i' int64_t, 's' struct slice (borrowed until
 * it is reset; as text), 'b' the same as bytes. Returns it. */
sqlite3_stmt *db_bind(struct db *db, enum db_sql which, const char *types, ...);

/* The same for values from the one numbered 'first' on. */
void db_give(sqlite3_stmt *stmt, int first, const char *types, ...);

/* Run it to its end; it gives no rows. */
int db_run(struct db *db, sqlite3_stmt *stmt);

/* 1: a row; 0: no more (the statement is reset), or an error (likewise). */
int db_row(struct db *db, sqlite3_stmt *stmt);
void db_done(sqlite3_stmt *stmt); /* reset it before its end */

/* Run and return the first column of the first row, 'none' when there is none. */
int db_number(struct db *db, sqlite3_stmt *stmt, int64_t none, int64_t *out);

/* The same for a fixed text that is not worth keeping. */
int db_ask(struct db *db, const char *sql, int64_t *out);

struct slice db_slice(sqlite3_stmt *stmt, int column); /* borrowed until the next row */
uint64_t db_u64(sqlite3_stmt *stmt, int column);

/* Run a fixed text with any number of statements. */
int db_script(struct db *db, const char *sql);

/* The status of SQLite's result code, which becomes db->rc. */
int db_fail(struct db *db, int rc);

/* Whether the last error is that there was no room: on the disk, in a quota, or below the
 * limit of a file's size (which SQLite takes for I/O errors). */
bool db_was_full(const struct db *db);

/* Copy the log into the file, and sync it. 'whole': all of it, and make the log empty;
 * E_BUSY while a reader holds it. */
int db_checkpoint(struct db *db, bool whole);

/* How many bytes the log beside the file has at least: what is in it is not in the file yet,
 * or not for sure. 0: it is empty, or there is none. Another program may change it. */
uint64_t db_log_bytes(const struct db *db);

/* Write what is in the log once more, and sync it, before it is copied into the file: after a
 * sync that failed the system has it, takes it for written, and a power cut in the middle of
 * the copy would leave a file without the log that completes it. */
int db_log_again(struct db *db);

/* Give the log, which is empty, room for so many pages: written over, not appended to. Where
 * there is not so much room it stays as it is. */
void db_reserve_log(struct db *db, uint32_t pages);

/* Changes made to this connection's last statement. */
int64_t db_changes(const struct db *db);

extern const char *const db_texts[SQL_STATEMENTS];

#endif
