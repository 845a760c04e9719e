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
 *   newest 4:chat 18 1700… 0 4:goal 1:k 5:hello
 *   key 4:chat 3:abc 18 1700…       an idempotency key, its event, when
 *   pair 5:users 1:a 2:{}           a key-value store, key, value
 *   task 2:t1 1700… 4:send 2:{}     id, due, name, data
 *   end 7 2837462                   lines before it, CRC-32C of all before it */
#include "base/buf.h"
#include "base/crc32c.h"
#include "base/status.h"
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
    struct db *db;
    int fd;
    struct buf text;
    uint32_t crc;
    uint64_t lines, total;
    struct store_job *job;
    struct records records;
    int failed; /* of writing */
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

static struct slice name_of(const struct export *e, int64_t id) {
    for (uint32_t low = 0, high = e->records.n; low < high;) {
        uint32_t mid = low + (high - low) / 2;
        const struct record *r = e->records.all[mid];
        if (r->id == id) return r->key;
        if (r->id < id) low = mid + 1;
        else high = mid;
    }
    return slice_of("", 0);
}

static int put_head(struct export *e) {
    sqlite3_stmt *q = db_sql(e->db, SQL_HEAD);
    int err = db_row(e->db, q);
    if (err <= 0) return err == 0 ? E_DAMAGED : err;
    err = put(e, "head", "si", db_slice(q, 0), sqlite3_column_int64(q, 1));
    db_done(q);
    return err;
}

static int put_channels(struct export *e) {
    int err = 0;
    for (uint32_t i = 0; err == 0 && i < e->records.n; i++) {
        const struct record *r = e->records.all[i];
        err = put(e, "channel", "siii", r->key, (int64_t)r->now.kind,
                  (int64_t)r->now.durable, (int64_t)r->now.floor);
    }
    return err;
}

static int put_event(struct export *e, sqlite3_stmt *q) {
    return put(e, "event", "siiiiisss", name_of(e, sqlite3_column_int64(q, 0)),
               sqlite3_column_int64(q, 1), sqlite3_column_int64(q, 2),
               sqlite3_column_int64(q, 3), sqlite3_column_int64(q, 4),
               sqlite3_column_int64(q, 5), db_slice(q, 6), db_slice(q, 7),
               db_slice(q, 8));
}

static int put_newest(struct export *e, sqlite3_stmt *q) {
    return put(e, "newest", "siiisss", db_slice(q, 0), sqlite3_column_int64(q, 1),
               sqlite3_column_int64(q, 2), sqlite3_column_int64(q, 3), db_slice(q, 4),
               db_slice(q, 5), db_slice(q, 6));
}

static int put_key(struct export *e, sqlite3_stmt *q) {
    return put(e, "key", "ssii", name_of(e, sqlite3_column_int64(q, 0)), db_slice(q, 1),
               sqlite3_column_int64(q, 2), sqlite3_column_int64(q, 3));
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
    while ((err = db_row(e->db, q)) > 0)
        if ((err = row(e, q)) < 0) break;
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
    if (err == 0) err = records_load(&e->records, e->db);
    if (err == 0) err = put(e, "sluice-store", "i", (int64_t)1);
    if (err == 0) err = put_head(e);
    if (err == 0) err = put_channels(e);
    if (err == 0) err = put_table(e, SQL_ALL_EVENTS, put_event);
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
    int err = place_open(&place, where, job);
    if (err < 0) return err;
    if (path) err = output_open(&out, path, replace, &job->why);
    struct export e = {.db = &place.db, .fd = path ? out.fd : STDOUT_FILENO, .job = job};
    if (err == 0) err = put_all(&e);
    buf_free(&e.text);
    records_free(&e.records);
    if (e.failed)
        job->why = why_says("the export cannot be written%s%s: %s", path ? " to " : "",
                            path ? path : "", status_text(e.failed));
    err = place_close(&place, job, err);
    return path ? output_close(&out, err, &job->why) : err;
}
