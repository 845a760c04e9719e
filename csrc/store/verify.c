/* Reading every row of a store, and what is wrong with it; and its figures. [one thread]
 *
 * Rows are checked by their sums; events of a channel by the chain of their numbers; newest
 * values of a keyed log by walking its events once more: the newest of a key must be there,
 * unless it is older than all that are (max_keys took it). */
#include "base/map.h"
#include "base/mem.h"
#include "base/status.h"
#include "store/columns.h"
#include "store/place.h"
#include "store/record.h"
#include "store/sum.h"

#include <stdarg.h>
#include <stdio.h>

#define PROGRESS_ROWS 1024

struct check {
    struct db *db;
    struct store_verdict *out;
    store_progress_fn *progress;
    void *arg;
    uint64_t total;
    struct records records;
};

__attribute__((format(printf, 3, 4))) static void find(struct check *c, uint64_t *count,
                                                       const char *format, ...) {
    ++*count;
    if (c->out->first[0]) return;
    va_list args;
    va_start(args, format);
    vsnprintf(c->out->first, sizeof c->out->first, format, args);
    va_end(args);
}

/* One more row; not 0 ends it. */
static int go_on(struct check *c) {
    if (++c->out->rows % PROGRESS_ROWS || !c->progress) return 0;
    return c->progress(c->arg, c->out->rows, c->total) ? E_CLOSED : 0;
}

static int check_pages(struct check *c) {
    sqlite3_stmt *q = db_sql(c->db, SQL_CHECK);
    int err;
    while ((err = db_row(c->db, q)) > 0) {
        struct slice s = db_slice(q, 0);
        if (!slice_eq_lit(s, "ok"))
            find(c, &c->out->damaged, "%.*s", (int)(s.n < 150 ? s.n : 150), s.p);
    }
    return err;
}

static const struct record *record_by_id(const struct check *c, int64_t id) {
    for (uint32_t low = 0, high = c->records.n; low < high;) {
        uint32_t mid = low + (high - low) / 2;
        const struct record *r = c->records.all[mid];
        if (r->id == id) return r;
        if (r->id < id) low = mid + 1;
        else high = mid;
    }
    return NULL;
}

/* ---- Events --------------------------------------------------------------------------- */

static int check_events(struct check *c) {
    sqlite3_stmt *q = db_sql(c->db, SQL_ALL_EVENTS);
    int64_t chan = 0;
    uint64_t place = 0;
    int err;
    while ((err = db_row(c->db, q)) > 0) {
        struct store_row row = columns_event(q, 1);
        const struct record *r = record_by_id(c, sqlite3_column_int64(q, 0));
        uint64_t prev = db_u64(q, 2);
        if (!r || sum_event(r->id, prev, &row) != sqlite3_column_int64(q, 9)) {
            find(c, &c->out->damaged, "event %llu is damaged",
                 (unsigned long long)row.seq);
        } else if (row.seq > r->now.floor) {
            if (chan != r->id || place < r->now.floor) place = r->now.floor;
            if (prev > place)
                find(c, &c->out->holes, "event %llu of '%s' is missing",
                     (unsigned long long)prev, r->name);
            place = row.seq;
            chan = r->id;
        }
        if ((err = go_on(c)) < 0) break;
    }
    db_done(q);
    return err;
}

/* ---- Newest values -------------------------------------------------------------------- */

/* What the events of a keyed log say: the newest number of each key and name. */
struct value {
    struct map_node node; /* the key, a NUL byte that ends its length, the name */
    uint64_t seq;
    size_t key_n;
    char text[];
};

static void note_value(struct map *values, const struct store_row *row) {
    struct value *v = mem_new(sizeof *v + row->key.n + row->name.n + 1);
    if (row->key.n > 0) memcpy(v->text, row->key.p, row->key.n);
    if (row->name.n > 0) memcpy(v->text + row->key.n + 1, row->name.p, row->name.n);
    v->node.key = slice_of(v->text, row->key.n + 1 + row->name.n);
    v->key_n = row->key.n;
    v->seq = row->seq;
    struct map_node *old = map_get(values, v->node.key);
    if (old) {
        map_remove(values, old);
        mem_free(container_of(old, struct value, node));
    }
    map_add(values, &v->node);
}

static void drop_key(struct map *values, struct slice key) {
    for (struct map_node *n = map_next(values, NULL), *next; n; n = next) {
        next = map_next(values, n);
        struct value *v = container_of(n, struct value, node);
        if (!slice_eq(slice_of(v->text, v->key_n), key)) continue;
        map_remove(values, n);
        mem_free(v);
    }
}

static void free_values(struct map *values) {
    for (struct map_node *n = map_next(values, NULL), *next; n; n = next) {
        next = map_next(values, n);
        mem_free(container_of(n, struct value, node));
    }
    map_deinit(values);
}

static int walk(struct check *c, const struct record *r, struct map *values) {
    sqlite3_stmt *q =
        db_bind(c->db, SQL_EVENTS_ABOVE, "ii", r->id, (int64_t)r->now.floor);
    int err;
    while ((err = db_row(c->db, q)) > 0) {
        struct store_row row = columns_event(q, 0);
        if (row.remove) drop_key(values, row.key);
        else note_value(values, &row);
    }
    return err;
}

static struct store_row newest_row(sqlite3_stmt *q) {
    return (struct store_row){.seq = db_u64(q, 1),
                              .at_ms = sqlite3_column_int64(q, 2),
                              .expires_ms = sqlite3_column_int64(q, 3),
                              .name = db_slice(q, 4),
                              .key = db_slice(q, 5),
                              .data = db_slice(q, 6)};
}

/* Take what the table has out of 'values'; *oldest is its oldest number. */
static int compare(struct check *c, const struct record *r, struct map *values,
                   uint64_t *oldest) {
    sqlite3_stmt *q = db_bind(c->db, SQL_NEWEST_OF, "s", r->node.key);
    int err;
    *oldest = UINT64_MAX;
    while ((err = db_row(c->db, q)) > 0) {
        struct store_row row = newest_row(q);
        struct map one;
        map_init(&one);
        note_value(&one, &row);
        struct map_node *n = map_get(values, map_next(&one, NULL)->key);
        bool fits = n ? container_of(n, struct value, node)->seq == row.seq
                      : row.seq <= r->now.floor;
        if (!fits)
            find(c, &c->out->stale, "the newest value %llu of '%s' is not",
                 (unsigned long long)row.seq, r->name);
        if (n) {
            map_remove(values, n);
            mem_free(container_of(n, struct value, node));
        }
        if (row.seq < *oldest) *oldest = row.seq;
        free_values(&one);
    }
    return err;
}

static int check_keyed(struct check *c, const struct record *r) {
    struct map values;
    uint64_t oldest = 0;
    map_init(&values);
    int err = walk(c, r, &values);
    if (err == 0) err = compare(c, r, &values, &oldest);
    for (struct map_node *n = map_next(&values, NULL); n; n = map_next(&values, n)) {
        const struct value *v = container_of(n, struct value, node);
        if (v->seq > oldest || oldest == UINT64_MAX)
            find(c, &c->out->stale, "the newest value %llu of '%s' is missing",
                 (unsigned long long)v->seq, r->name);
    }
    free_values(&values);
    return err;
}

static int check_newest(struct check *c) {
    sqlite3_stmt *q = db_sql(c->db, SQL_NEWEST_ALL);
    int err;
    while ((err = db_row(c->db, q)) > 0) {
        struct store_row row = newest_row(q);
        if (sum_newest(sqlite3_column_int64(q, 8), &row) != sqlite3_column_int64(q, 7))
            find(c, &c->out->damaged, "the newest value %llu is damaged",
                 (unsigned long long)row.seq);
        if ((err = go_on(c)) < 0) break;
    }
    db_done(q);
    for (uint32_t i = 0; err == 0 && i < c->records.n; i++) {
        const struct record *r = c->records.all[i];
        if (r->now.kind == STORE_KEYED && r->now.durable) err = check_keyed(c, r);
    }
    return err;
}

/* ---- The other tables ----------------------------------------------------------------- */

static bool is_sound(enum db_sql which, sqlite3_stmt *q) {
    if (which == SQL_ALL_KEYS)
        return sum_key(sqlite3_column_int64(q, 0), db_slice(q, 1), db_u64(q, 2),
                       sqlite3_column_int64(q, 3)) == sqlite3_column_int64(q, 4);
    if (which == SQL_PAIRS) {
        struct store_pair p = {db_slice(q, 0), db_slice(q, 1), db_slice(q, 2)};
        return sum_pair(&p) == sqlite3_column_int64(q, 3);
    }
    struct store_task t = {.id = db_slice(q, 0),
                           .due_ms = sqlite3_column_int64(q, 1),
                           .name = db_slice(q, 2),
                           .data = db_slice(q, 3)};
    return sum_task(&t) == sqlite3_column_int64(q, 4);
}

static int check_table(struct check *c, enum db_sql which, const char *what) {
    sqlite3_stmt *q = db_sql(c->db, which);
    int err;
    while ((err = db_row(c->db, q)) > 0) {
        if (!is_sound(which, q)) find(c, &c->out->damaged, "%s is damaged", what);
        if ((err = go_on(c)) < 0) break;
    }
    db_done(q);
    return err;
}

static int check_head(struct check *c) {
    sqlite3_stmt *q = db_sql(c->db, SQL_HEAD);
    int err = db_row(c->db, q);
    if (err == 0) find(c, &c->out->damaged, "the head row is missing");
    if (err <= 0) return err;
    int64_t sum = sum_head(db_slice(q, 0), db_u64(q, 1), db_u64(q, 2),
                           sqlite3_column_int(q, 3) != 0);
    if (sum != sqlite3_column_int64(q, 4))
        find(c, &c->out->damaged, "the head row is damaged");
    db_done(q);
    return 0;
}

static int check_channels(struct check *c) {
    int err = records_load(&c->records, c->db);
    if (err == E_DAMAGED) find(c, &c->out->damaged, "the row of a channel is damaged");
    return err;
}

static int check_all(struct check *c) {
    int64_t total = 0;
    int err = db_ask(c->db, "SELECT count(*) FROM events", &total);
    c->total = (uint64_t)total;
    if (err == 0) err = check_pages(c);
    if (err == 0) err = check_head(c);
    if (err == 0) err = check_channels(c);
    if (err == 0) err = check_events(c);
    if (err == 0) err = check_newest(c);
    if (err == 0) err = check_table(c, SQL_ALL_KEYS, "an idempotency key");
    if (err == 0) err = check_table(c, SQL_PAIRS, "a pair of a key-value store");
    if (err == 0) err = check_table(c, SQL_TASKS, "a task");
    return err;
}

int store_verify(const struct store_place *where, store_progress_fn *progress, void *arg,
                 struct store_verdict *out) {
    struct place place;
    *out = (struct store_verdict){0};
    int err = place_open(&place, where);
    if (err < 0) return err;
    struct check c = {.db = &place.db, .out = out, .progress = progress, .arg = arg};
    err = check_all(&c);
    records_free(&c.records);
    place_close(&place);
    if (err == E_DAMAGED) { /* what SQLite cannot read is found, too */
        if (out->damaged == 0) find(&c, &out->damaged, "a page of the file is damaged");
        err = 0;
    }
    return err;
}

/* ---- Figures -------------------------------------------------------------------------- */

static int count(struct db *db, struct store_figures *out) {
    static const char *const texts[] = {"SELECT count(*) FROM channels",
                                        "SELECT count(*) FROM channels WHERE durable = 1",
                                        "SELECT count(*) FROM events",
                                        "SELECT count(*) FROM newest",
                                        "SELECT count(*) FROM keys",
                                        "SELECT count(*) FROM pairs",
                                        "SELECT count(*) FROM tasks"};
    uint64_t *const places[] = {&out->channels, &out->durable, &out->events, &out->newest,
                                &out->keys,     &out->pairs,   &out->tasks};
    int err = 0;
    for (size_t i = 0; err == 0 && i < sizeof texts / sizeof *texts; i++) {
        int64_t n = 0;
        err = db_ask(db, texts[i], &n);
        *places[i] = (uint64_t)n;
    }
    return err;
}

static int read_figures(struct db *db, struct store_figures *out) {
    int64_t pages = 0, size = 0, version = 0;
    int err = db_ask(db, "PRAGMA page_count", &pages);
    if (err == 0) err = db_ask(db, "PRAGMA page_size", &size);
    if (err == 0) err = db_ask(db, "PRAGMA user_version", &version);
    out->bytes = (uint64_t)pages * (uint64_t)size;
    out->version = (int)version;
    sqlite3_stmt *q = db_sql(db, SQL_HEAD);
    if (err == 0 && (err = db_row(db, q)) > 0) {
        struct slice epoch = db_slice(q, 0);
        if (epoch.n == STORE_EPOCH_LENGTH) memcpy(out->epoch, epoch.p, epoch.n);
        out->head = db_u64(q, 1);
        out->clean = sqlite3_column_int(q, 3) != 0;
        db_done(q);
        err = 0;
    }
    return err < 0 ? err : count(db, out);
}

int store_figures(const struct store_place *where, struct store_figures *out) {
    struct place place;
    *out = (struct store_figures){0};
    int err = place_open(&place, where);
    if (err < 0) return err;
    err = read_figures(&place.db, out);
    if (!where->disk) out->wal_bytes = folder_wal_bytes(&place.folder);
    place_close(&place);
    return err;
}
