/* What a store holds, counted at one moment. [one thread] */
#include "base/mem.h"
#include "base/status.h"
#include "store/place.h"

#include <string.h>

/* A pattern has a segment that begins with ':' or '*', which a channel's name cannot have. */
#define IS_PATTERN "('/' || name) GLOB '*/[:*]*'"
#define DURABLE(kind)                                                  \
    "SELECT count(*) FROM channels WHERE durable = 1 AND kind = " kind \
    " AND NOT " IS_PATTERN
#define BYTES(columns, table) "SELECT ifnull(sum(" columns "), 0) FROM " table

static int count(struct db *db, struct store_figures *out) {
    const struct {
        const char *sql;
        uint64_t *place;
    } rows[] = {
        {DURABLE("0"), &out->logs},
        {DURABLE("1"), &out->states},
        {DURABLE("2"), &out->keyed},
        {"SELECT count(*) FROM channels WHERE durable = 1 AND " IS_PATTERN,
         &out->patterns},
        {"SELECT count(*) FROM channels WHERE durable = 0", &out->former},
        {"SELECT count(*) FROM events", &out->events},
        {BYTES("length(name) + length(key) + length(data)", "events"), &out->event_bytes},
        {"SELECT count(*) FROM newest", &out->newest},
        {BYTES("length(name) + length(key) + length(data)", "newest"),
         &out->newest_bytes},
        {"SELECT count(*) FROM keys", &out->keys},
        {"SELECT count(*) FROM pairs", &out->pairs},
        {BYTES("length(store) + length(key) + length(value)", "pairs"), &out->pair_bytes},
        {"SELECT count(*) FROM tasks", &out->tasks}};
    int err = 0;
    for (size_t i = 0; err == 0 && i < sizeof rows / sizeof *rows; i++) {
        int64_t n = 0;
        err = db_ask(db, rows[i].sql, &n);
        *rows[i].place = (uint64_t)n;
    }
    if (err == 0)
        err = db_ask(db, "SELECT ifnull(min(at), 0) FROM events", &out->oldest_ms);
    if (err == 0)
        err = db_ask(db, "SELECT ifnull(max(at), 0) FROM events", &out->newest_ms);
    return err < 0 ? err
                   : db_ask(db, "SELECT ifnull(min(due), 0) FROM tasks", &out->due_ms);
}

static int read_file(struct db *db, struct store_figures *out) {
    int64_t pages = 0, size = 0, version = 0;
    int err = db_ask(db, "PRAGMA page_count", &pages);
    if (err == 0) err = db_ask(db, "PRAGMA page_size", &size);
    if (err == 0) err = db_ask(db, "PRAGMA user_version", &version);
    out->bytes = (uint64_t)pages * (uint64_t)size;
    out->version = (int)version;
    return err;
}

static int read_head(struct db *db, struct store_figures *out) {
    sqlite3_stmt *q = db_sql(db, SQL_HEAD);
    int err = db_row(db, q);
    if (err <= 0) return err;
    struct slice epoch = db_slice(q, 0);
    if (epoch.n == STORE_EPOCH_LENGTH) memcpy(out->epoch, epoch.p, epoch.n);
    out->head = db_u64(q, 1);
    out->clean = sqlite3_column_int(q, 3) != 0;
    db_done(q);
    return 0;
}

int store_figures(const struct store_place *where, struct store_job *job,
                  struct store_figures *out) {
    struct place place;
    *out = (struct store_figures){0};
    int err = place_open(&place, where, job);
    if (err < 0) return err;
    err = read_file(&place.db, out);
    if (err == 0) err = read_head(&place.db, out);
    if (err == 0) err = count(&place.db, out);
    if (!where->disk) {
        out->wal_bytes = folder_wal_bytes(&place.folder);
        out->holder = folder_holder(&place.folder);
    }
    return place_close(&place, job, err);
}
