/* A store as text: one line for each row, numbers in decimal, bytes with their length before
 * them (so that any byte may be in them), and a last line that shows that it is whole.
 * import.c reads it. [one thread]
 *
 *   sluice-store 1
 *   head 13:k3f9…  41231            epoch, last number
 *   channel 4:chat 0 1 17           name, kind (0 log, 1 state, 2 keyed log), durable, floor
 *   event 4:chat 18 17 1700… 0 0 4:goal 0: 5:hello
 *                                   channel, number, the one before, accepted, expires,
 *                                   removes, name, key, data
 *   lost 4:chat 23                  in place of events up to this number: their readers hear it
 *   newest 4:chat 18 1700… 0 4:goal 1:k 5:hello
 *   key 4:chat 3:abc 18 1700…       an idempotency key, its event, when
 *   pair 5:users 1:a 2:{}           a key-value store, key, value
 *   task 2:t1 1700… 4:send 2:{}     id, due, name, data
 *   end 7 2837462                   lines before it, CRC-32C of all before it */
#include "base/buf.h"
#include "base/crc32c.h"
#include "base/status.h"
#include "store/columns.h"
#include "store/output.h"
#include "store/place.h"
#include "store/record.h"
#include "store/sum.h"
#include "store/why.h"

#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

#define FLUSH_BYTES 65536

struct export {
    struct place *place;
    struct db *db;
    int fd;
    struct buf text;
    uint32_t crc;
    uint64_t lines, total;
    struct store_job *job;
    struct records records;
    uint64_t head; /* numbers above it are no row's: an import goes on far above */
    int failed;    /* of writing */
};

static int flush(struct export *e) {
    size_t done = 0;
    e->crc = crc32c(e->crc, e->text.p, e->text.n);
    while (done < e->text.n) {
        ssize_t n = write(e->fd, e->text.p + done, e->text.n - done);
        if (n < 0 && errno != EINTR) return e->failed = -errno;
        if (n < 0 && store_job_go_on(e->job, 0, 0) < 0) return E_CLOSED;
        if (n > 0) done += (size_t)n;
    }
    e->text.n = 0;
    return store_job_go_on(e->job, e->lines, e->total);
}

/* A line: 'i' int64_t, 's' struct slice. */
static int put(struct export *e, const char *word, const char *types, ...) {
    va_list args;
    va_start(args, types);
    int err = buf_adds(&e->text, word);
    for (const char *t = types; err == 0 && *t; t++) {
        if (*t == 'i') {
            err = buf_addf(&e->text, " %lld", (long long)va_arg(args, int64_t));
            continue;
        }
        struct slice s = va_arg(args, struct slice);
        err = buf_addf(&e->text, " %zu:", s.n);
        if (err == 0) err = buf_add(&e->text, s.p, s.n);
    }
    va_end(args);
    if (err == 0) err = buf_adds(&e->text, "\n");
    e->lines++;
    return err == 0 && e->text.n >= FLUSH_BYTES ? flush(e) : err;
}

static int put_head(struct export *e) {
    sqlite3_stmt *q = db_sql(e->db, SQL_HEAD);
    int err = db_row(e->db, q);
    if (err < 0) return err;
    if (err == 0 || !columns_is_sound(SQL_HEAD, q)) {
        e->job->why = "the head row is not what was written: restore a backup";
        db_done(q);
        return E_DAMAGED;
    }
    e->head = db_u64(q, 1);
    err = put(e, "head", "si", db_slice(q, 0), (int64_t)e->head);
    db_done(q);
    return err;
}

/* Commits are not in the file, or its structure is not whole. */
static int look(struct export *e) {
    int whole = place_is_whole(e->place, NULL, NULL);
    e->job->incomplete = whole == 0 || whole == E_DAMAGED || place_missing(e->place) > 0;
    return whole < 0 && whole != E_DAMAGED ? whole : 0;
}

/* What a reader of it did not get may have been in what is missing. */
static bool may_miss(const struct export *e, const struct record *r) {
    return e->job->incomplete && r->now.durable;
}

static int put_channels(struct export *e) {
    int err = 0;
    for (uint32_t i = 0; err == 0 && i < e->records.n; i++) {
        const struct record *r = e->records.all[i];
        bool told_here = may_miss(e, r) && !record_has_events(r);
        uint64_t floor = told_here ? ++e->head : r->now.floor;
        err = put(e, "channel", "siii", r->key, (int64_t)r->now.kind,
                  (int64_t)r->now.durable, (int64_t)floor);
    }
    return err;
}

/* The walk over the events of a channel: all up to 'place' is written, or is gone. */
struct chain {
    const struct record *r;
    uint64_t place;
    bool broken; /* a damaged row followed */
};

static int put_lost(struct export *e, struct chain *at, uint64_t upto) {
    at->place = upto;
    e->job->damaged += !at->broken;
    at->broken = false;
    return put(e, "lost", "si", at->r->key, (int64_t)upto);
}

/* What the number of a damaged row is, the next sound one knows. */
static int put_event(struct export *e, struct chain *at, sqlite3_stmt *q) {
    enum columns_event is = columns_judge_event(at->r->id, q, 0);
    struct store_row row = columns_event(q, 0);
    uint64_t prev = db_u64(q, 1);
    if (is == EVENT_DAMAGED || row.seq <= at->place) {
        e->job->damaged++;
        at->broken = true;
        return 0;
    }
    int err = prev > at->place && is == EVENT_SOUND ? put_lost(e, at, prev) : 0;
    at->broken = is == EVENT_LOST; /* before, and not now */
    if (err == 0 && is == EVENT_LOST) return put_lost(e, at, row.seq);
    at->place = row.seq;
    if (err < 0) return err;
    return put(e, "event", "siiiiisss", at->r->key, (int64_t)row.seq, (int64_t)prev,
               row.at_ms, row.expires_ms, (int64_t)row.remove, row.name, row.key,
               row.data);
}

/* Where its newest are damaged, or not found from here, no sound one tells. */
static int put_events_of(struct export *e, const struct record *r) {
    struct chain at = {.r = r, .place = r->now.floor};
    sqlite3_stmt *q =
        db_bind(e->db, SQL_EVENTS_ABOVE, "ii", r->id, (int64_t)r->now.floor);
    int64_t newest = 0;
    int err;
    while ((err = db_row(e->db, q)) > 0)
        if ((err = put_event(e, &at, q)) < 0) break;
    db_done(q);
    if (err == 0)
        err = db_number(e->db, db_bind(e->db, SQL_EVENTS_UPTO, "ii", r->id, INT64_MAX), 0,
                        &newest);
    bool told = at.broken || (uint64_t)newest > at.place;
    bool may = may_miss(e, r) && record_has_events(r);
    if (may && !told) at.broken = true; /* no row is damaged for it */
    if (err == 0 && (told || may)) err = put_lost(e, &at, ++e->head);
    return err;
}

static int put_events(struct export *e) {
    int err = 0;
    for (uint32_t i = 0; err == 0 && i < e->records.n; i++)
        err = put_events_of(e, e->records.all[i]);
    return err;
}

static int put_newest(struct export *e, sqlite3_stmt *q) {
    return put(e, "newest", "siiisss", db_slice(q, 0), sqlite3_column_int64(q, 1),
               sqlite3_column_int64(q, 2), sqlite3_column_int64(q, 3), db_slice(q, 4),
               db_slice(q, 5), db_slice(q, 6));
}

static int put_key(struct export *e, sqlite3_stmt *q) {
    const struct record *r = record_by_id(&e->records, sqlite3_column_int64(q, 0));
    if (!r) return 0;
    return put(e, "key", "ssii", r->key, db_slice(q, 1), sqlite3_column_int64(q, 2),
               sqlite3_column_int64(q, 3));
}

static int put_pair(struct export *e, sqlite3_stmt *q) {
    return put(e, "pair", "sss", db_slice(q, 0), db_slice(q, 1), db_slice(q, 2));
}

static int put_task(struct export *e, sqlite3_stmt *q) {
    return put(e, "task", "siss", db_slice(q, 0), sqlite3_column_int64(q, 1),
               db_slice(q, 2), db_slice(q, 3));
}

static int put_table(struct export *e, enum db_sql which,
                     int (*row)(struct export *e, sqlite3_stmt *q)) {
    sqlite3_stmt *q = db_sql(e->db, which);
    int err;
    while ((err = db_row(e->db, q)) > 0) {
        bool good = columns_is_sound(which, q);
        e->job->damaged += !good;
        if (good && (err = row(e, q)) < 0) break;
    }
    db_done(q);
    return err;
}

static int put_all(struct export *e) {
    int64_t total = 0;
    int err =
        db_ask(e->db,
               "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM newest) + "
               "(SELECT count(*) FROM keys) + (SELECT count(*) FROM pairs) + "
               "(SELECT count(*) FROM tasks)",
               &total);
    e->total = (uint64_t)total;
    if (err == 0) err = look(e);
    if (err == 0) err = records_load(&e->records, e->db);
    if (err == 0) err = put(e, "sluice-store", "i", (int64_t)1);
    if (err == 0) err = put_head(e);
    if (err == 0) err = put_channels(e);
    if (err == 0) err = put_events(e);
    if (err == 0) err = put_table(e, SQL_NEWEST_ALL, put_newest);
    if (err == 0) err = put_table(e, SQL_ALL_KEYS, put_key);
    if (err == 0) err = put_table(e, SQL_PAIRS, put_pair);
    if (err == 0) err = put_table(e, SQL_TASKS, put_task);
    if (err == 0) err = flush(e);
    if (err == 0) err = put(e, "end", "ii", (int64_t)e->lines, (int64_t)e->crc);
    return err < 0 ? err : flush(e);
}

int store_export(const struct store_place *where, const char *path, bool replace,
                 struct store_job *job) {
    struct place place;
    struct output out = {.fd = -1};
    job->damaged = 0;
    job->incomplete = false;
    int err = place_open(&place, where, job);
    if (err < 0) return err;
    if (path) err = output_open(&out, path, replace, &job->why);
    struct export e = {.place = &place,
                       .db = &place.db,
                       .fd = path ? out.fd : STDOUT_FILENO,
                       .job = job};
    if (err == 0) err = put_all(&e);
    buf_free(&e.text);
    records_free(&e.records);
    if (e.failed)
        job->why = why_says("the export cannot be written%s%s: %s", path ? " to " : "",
                            path ? path : "", status_text(e.failed));
    err = place_close(&place, job, err);
    return path ? output_close(&out, err, &job->why) : err;
}
