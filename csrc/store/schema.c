/* One script for each version, from the one before; see schema.h.
 *
 *   head      one row: the epoch, the last number that was given, how many transactions there
 *             were (which tells whether one is in the file), whether it was closed
 *   channels  each channel that is or was durable, and each durable pattern; the floor is the
 *             highest number that is not kept any more. 'events' and 'bytes' are what lies
 *             above the floor up to the number 'counted'
 *   events    of logs and keyed logs; 'prev' is the number before it in its channel, which
 *             shows a hole
 *   newest    of states and keyed logs: the newest event per key and name, with its data, so
 *             that no retention of events touches it
 *   keys      idempotency keys
 *   pairs     key-value stores
 *   tasks     durable tasks
 *
 * Each row has a checksum (sum.h) over its columns. */
#include "store/schema.h"

#include "base/status.h"
#include "store/why.h"

static const char *const scripts[SCHEMA_VERSION] = {
    "CREATE TABLE head (id INTEGER PRIMARY KEY CHECK (id = 1), epoch TEXT NOT NULL, "
    "  last INTEGER NOT NULL, commits INTEGER NOT NULL, clean INTEGER NOT NULL, "
    "  crc INTEGER NOT NULL);"
    "CREATE TABLE channels (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, "
    "  kind INTEGER NOT NULL, durable INTEGER NOT NULL, floor INTEGER NOT NULL, "
    "  events INTEGER NOT NULL, bytes INTEGER NOT NULL, counted INTEGER NOT NULL, "
    "  crc INTEGER NOT NULL);"
    "CREATE TABLE events (seq INTEGER PRIMARY KEY, chan INTEGER NOT NULL, "
    "  prev INTEGER NOT NULL, at INTEGER NOT NULL, expires INTEGER NOT NULL, "
    "  remove INTEGER NOT NULL, name BLOB NOT NULL, key BLOB NOT NULL, "
    "  data BLOB NOT NULL, crc INTEGER NOT NULL);"
    "CREATE INDEX events_of_channel ON events (chan);" /* each entry ends with seq, the rowid */
    "CREATE TABLE newest (chan INTEGER NOT NULL, key BLOB NOT NULL, name BLOB NOT NULL, "
    "  seq INTEGER NOT NULL, at INTEGER NOT NULL, expires INTEGER NOT NULL, "
    "  data BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (chan, key, name)) "
    "  WITHOUT ROWID;"
    "CREATE INDEX newest_by_age ON newest (chan, seq);"
    "CREATE TABLE keys (chan INTEGER NOT NULL, key BLOB NOT NULL, seq INTEGER NOT NULL, "
    "  at INTEGER NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (chan, key)) WITHOUT ROWID;"
    "CREATE TABLE pairs (store BLOB NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, "
    "  crc INTEGER NOT NULL, PRIMARY KEY (store, key)) WITHOUT ROWID;",

    "CREATE INDEX keys_by_age ON keys (at);"
    "CREATE TABLE tasks (id BLOB PRIMARY KEY, due INTEGER NOT NULL, name BLOB NOT NULL, "
    "  data BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;",
};

static const char *const stamps[SCHEMA_VERSION] = {
    "PRAGMA application_id = 0x536c7563; PRAGMA user_version = 1;",
    "PRAGMA application_id = 0x536c7563; PRAGMA user_version = 2;",
};

static int bring(struct db *db, int from, int to) {
    int err = db_run(db, db_sql(db, SQL_BEGIN));
    for (int v = from; err == 0 && v < to && v < SCHEMA_VERSION; v++) {
        err = db_script(db, scripts[v]);
        if (err == 0) err = db_script(db, stamps[v]);
    }
    if (err == 0) err = db_run(db, db_sql(db, SQL_COMMIT));
    if (err < 0 && !sqlite3_get_autocommit(db->handle)) {
        int rc = db->rc;
        db_run(db, db_sql(db, SQL_ROLLBACK));
        db->rc = rc;
    }
    return err;
}

/* What the file is: *version 0 when it is empty. */
static int look(struct db *db, int *version, const char **why) {
    int64_t application = 0, user = 0, tables = 0;
    int err = db_ask(db, "PRAGMA application_id", &application);
    if (err == 0) err = db_ask(db, "PRAGMA user_version", &user);
    if (err == 0) err = db_ask(db, "SELECT count(*) FROM sqlite_schema", &tables);
    if (err < 0) {
        *why = why_says("the store cannot be read: %s", sqlite3_errstr(db->rc));
        return err;
    }
    if (application == 0 && user == 0 && tables == 0) {
        *version = 0;
        return 0;
    }
    if (application != SCHEMA_APPLICATION || user < 1) {
        *why = "the file is an SQLite database, but no store of Sluice's";
        return E_INVAL;
    }
    if (user > SCHEMA_VERSION) {
        *why = why_says(
            "the store was made by a newer Sluice (schema %d, this one knows %d)",
            (int)user, SCHEMA_VERSION);
        return E_INVAL;
    }
    *version = (int)user;
    return 0;
}

int schema_prepare(struct db *db, bool *is_new, const char **why) {
    int version = 0;
    int err = look(db, &version, why);
    if (err < 0) return err;
    *is_new = version == 0;
    if (version == SCHEMA_VERSION) return 0;
    err = bring(db, version, SCHEMA_VERSION);
    if (err < 0)
        *why = why_says("the store's tables cannot be made: %s", sqlite3_errstr(db->rc));
    return err;
}

int schema_check(struct db *db, const char **why) {
    int version = 0;
    int err = look(db, &version, why);
    if (err == 0 && version == 0) {
        *why = "the store's file is empty: a server that starts makes a new store: "
               "restore a backup";
        err = E_INVAL;
    } else if (err == 0 && version != SCHEMA_VERSION) {
        *why = "the store is of an older version: start its server once";
        err = E_INVAL;
    }
    return err;
}

int schema_make(struct db *db, int version) {
    return bring(db, 0, version);
}
