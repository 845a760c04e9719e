/* Reading every row of a store, and what is wrong with it. [one thread]
 *
 * Rows are checked by their sums; events of a channel by the chain of their numbers; newest
 * values of a keyed log by walking its events once more: the newest of a key must be there,
 * unless it is older than all that are (max_keys took it). */
#include "base/bounds.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/status.h"
#include "store/columns.h"
#include "store/place.h"
#include "store/record.h"
#include "store/sum.h"

#include <inttypes.h>
#include <stdio.h>

#define PROGRESS_ROWS 1024

/* What a fault costs. */
#define LOST_EVENT "clients that need it get a reset"
#define LOST_VALUE "it is left out: clients see no value of its key"
#define LOST_ALL "the server does not start: restore a backup"
#define LOST_NEW "a server that starts makes a new store: restore a backup"
#define LOST_SOME                                                                       \
    "the server may start, since the file is large, and refuses what needs this page: " \
    "restore a backup"

struct check {
    struct place *place;
    struct db *db;
    struct store_verdict *out;
    struct store_job *job;
    store_found_fn *found;
    uint64_t total;
    const char *lost_page; /* what a page costs that breaks the structure */
    struct records records;
};

static void find(struct check *c, struct store_finding f) {
    uint64_t *counts[] = {[STORE_DAMAGED] = &c->out->damaged,
                          [STORE_MISSING] = &c->out->holes,
                          [STORE_STALE] = &c->out->stale};
    ++*counts[f.fault];
    if (c->found) c->found(c->job->arg, &f);
}

/* One more row; not 0 ends it. */
static int go_on(struct check *c) {
    if (++c->out->rows % PROGRESS_ROWS) return 0;
    return store_job_go_on(c->job, c->out->rows, c->total);
}

static void on_page(void *arg, struct slice s) {
    struct check *c = arg;
    char text[200];
    const char *line = memchr(s.p, '\n', s.n); /* the first of them names the database */
    if (line) s = slice_of(line + 1, s.n - (size_t)(line + 1 - s.p));
    snprintf(text, sizeof text, "the structure of the file: %.*s",
             (int)(s.n < 150 ? s.n : 150), s.p);
    find(c, (struct store_finding){.text = text, .lost = c->lost_page});
}

static int check_pages(struct check *c) {
    int err = place_is_whole(c->place, on_page, c);
    return err < 0 ? err : 0;
}

static void check_mark(struct check *c) {
    char text[200];
    uint64_t missing = place_missing(c->place);
    if (missing == 0) return;
    snprintf(text, sizeof text,
             "the last %" PRIu64
             " commits are not in the file: its log was damaged, or an "
             "older copy was put in its place",
             missing);
    find(c, (struct store_finding){.fault = STORE_MISSING,
                                   .text = text,
                                   .lost = "readers of durable channels get a reset"});
}

/* ---- Events --------------------------------------------------------------------------- */

/* Where the walk over the events is: all up to 'place' of this channel was seen, or is gone. */
struct chain {
    const struct record *r;
    uint64_t place;
};

/* A row that is damaged is found as that, and not as missing too. */
static void check_event(struct check *c, struct chain *at, sqlite3_stmt *q) {
    const struct record *r = record_by_id(&c->records, sqlite3_column_int64(q, 0));
    uint64_t seq = db_u64(q, 1), prev = db_u64(q, 2);
    enum columns_event is = r ? columns_judge_event(r->id, q, 1) : EVENT_DAMAGED;
    struct store_finding f = {.channel = r ? r->key : slice_of("", 0),
                              .seq = seq,
                              .text = "an event is not what was written",
                              .lost = LOST_EVENT};
    if (is == EVENT_DAMAGED) find(c, f);
    c->out->lost += is == EVENT_LOST;
    if (!r || seq <= r->now.floor) return;
    if (at->r != r) *at = (struct chain){r, r->now.floor};
    f.fault = STORE_MISSING;
    f.seq = prev;
    f.text = "an event is not there";
    if (is == EVENT_SOUND && prev > at->place) find(c, f);
    if (seq > at->place) at->place = seq;
}

static int check_events(struct check *c) {
    sqlite3_stmt *q = db_sql(c->db, SQL_ALL_EVENTS);
    struct chain at = {0};
    int err;
    while ((err = db_row(c->db, q)) > 0) {
        check_event(c, &at, q);
        if ((err = go_on(c)) < 0) break;
    }
    db_done(q);
    return err;
}

/* ---- Newest values -------------------------------------------------------------------- */

/* What the events of a keyed log say: the newest number of each key and name. */
struct value {
    struct map_node node;
    struct slice text; /* the key, a NUL byte that ends its length, the name */
    uint64_t seq;
    size_t key_n;
    char bytes[];
};

static struct slice value_key(const struct map_node *node) {
    return container_of(node, const struct value, node)->text;
}

static void note_value(struct map *values, const struct store_row *row) {
    struct value *v = mem_new(sizeof *v + row->key.n + row->name.n + 1);
    if (row->key.n > 0) memcpy(v->bytes, row->key.p, row->key.n);
    if (row->name.n > 0) memcpy(v->bytes + row->key.n + 1, row->name.p, row->name.n);
    v->text = slice_of(v->bytes, row->key.n + 1 + row->name.n);
    v->key_n = row->key.n;
    v->seq = row->seq;
    struct map_node *old = map_get(values, v->text);
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
        if (!slice_eq(slice_of(v->bytes, v->key_n), key)) continue;
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
        if (columns_judge_event(r->id, q, 0) == EVENT_LOST) continue;
        if (row.remove) drop_key(values, row.key);
        else note_value(values, &row);
    }
    return err;
}

/* The event of a newest value is not kept, or lost: it may be the newest all the same. */
static bool has_gone(struct check *c, const struct record *r, uint64_t seq) {
    if (seq <= r->now.floor) return true;
    sqlite3_stmt *q = db_bind(c->db, SQL_EVENTS_ABOVE, "ii", r->id, (int64_t)(seq - 1));
    bool gone = db_row(c->db, q) > 0 && db_u64(q, 0) == seq &&
                columns_judge_event(r->id, q, 0) == EVENT_LOST;
    db_done(q);
    return gone;
}

/* Take what the table has out of 'values'; *oldest is its oldest number. */
static int compare(struct check *c, const struct record *r, struct map *values,
                   uint64_t *oldest) {
    sqlite3_stmt *q = db_bind(c->db, SQL_NEWEST_OF, "s", r->key);
    int err;
    *oldest = UINT64_MAX;
    while ((err = db_row(c->db, q)) > 0) {
        struct store_row row = columns_newest(q);
        struct map one;
        map_init(&one, value_key);
        note_value(&one, &row);
        struct map_node *n = map_get(values, value_key(map_next(&one, NULL)));
        bool fits = n ? container_of(n, struct value, node)->seq == row.seq
                      : has_gone(c, r, row.seq);
        if (!fits)
            find(c,
                 (struct store_finding){.fault = STORE_STALE,
                                        .channel = r->key,
                                        .seq = row.seq,
                                        .text = "a newest value is not the newest",
                                        .lost = "clients see an older value of its key"});
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
    map_init(&values, value_key);
    int err = walk(c, r, &values);
    if (err == 0) err = compare(c, r, &values, &oldest);
    for (struct map_node *n = map_next(&values, NULL); n; n = map_next(&values, n)) {
        const struct value *v = container_of(n, struct value, node);
        if (v->seq > oldest || oldest == UINT64_MAX)
            find(c, (struct store_finding){.fault = STORE_STALE,
                                           .channel = r->key,
                                           .seq = v->seq,
                                           .text = "a newest value is not there",
                                           .lost = LOST_VALUE});
    }
    free_values(&values);
    return err;
}

static int check_newest(struct check *c) {
    sqlite3_stmt *q = db_sql(c->db, SQL_NEWEST_ALL);
    int err;
    while ((err = db_row(c->db, q)) > 0) {
        if (!columns_is_sound(SQL_NEWEST_ALL, q))
            find(c,
                 (struct store_finding){.channel = db_slice(q, 0),
                                        .seq = db_u64(q, 1),
                                        .text = "a newest value is not what was written",
                                        .lost = LOST_VALUE});
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

struct table {
    enum db_sql which;
    int channel; /* the column that says whose it is; -1: none */
    const char *text, *lost;
};

static const struct table tables[] = {
    {SQL_ALL_KEYS, -1, "an idempotency key is not what was written",
     "a publish that is repeated with it is stored again"},
    {SQL_PAIRS, 0, "a pair of a key-value store is not what was written",
     "it is left out"},
    {SQL_TASKS, -1, "a task is not what was written", "it does not run"}};

static int check_table(struct check *c, const struct table *t) {
    sqlite3_stmt *q = db_sql(c->db, t->which);
    int err;
    while ((err = db_row(c->db, q)) > 0) {
        struct store_finding f = {.text = t->text, .lost = t->lost};
        if (t->channel >= 0) f.channel = db_slice(q, t->channel);
        if (!columns_is_sound(t->which, q)) find(c, f);
        if ((err = go_on(c)) < 0) break;
    }
    db_done(q);
    return err;
}

static int check_head(struct check *c) {
    sqlite3_stmt *q = db_sql(c->db, SQL_HEAD);
    int err = db_row(c->db, q);
    if (err < 0) return err;
    const char *text = "the head row is not there", *lost = LOST_ALL;
    int64_t channels = 0;
    if (err > 0) {
        struct slice epoch = db_slice(q, 0);
        text =
            columns_is_sound(SQL_HEAD, q) ? NULL : "the head row is not what was written";
        if (epoch.n == STORE_EPOCH_LENGTH) memcpy(c->out->epoch, epoch.p, epoch.n);
    }
    db_done(q);
    err = db_ask(c->db, "SELECT count(*) FROM channels", &channels);
    if (err == 0 && channels == 0) lost = LOST_NEW;
    if (text) find(c, (struct store_finding){.text = text, .lost = lost});
    check_mark(c);
    return err;
}

static int check_channels(struct check *c) {
    int err = records_load(&c->records, c->db);
    if (err == E_DAMAGED)
        find(c, (struct store_finding){.text =
                                           "the row of a channel is not what was written",
                                       .lost = LOST_ALL});
    return err;
}

/* ---- The whole ------------------------------------------------------------------------ */

/* What SQLite cannot read is found, too, and the next part may be whole. */
static int pass(struct check *c, int err, const char *text, const char *lost) {
    if (err != E_DAMAGED) return err;
    find(c, (struct store_finding){.text = text, .lost = lost});
    return 0;
}

static int check_all(struct check *c) {
    int64_t total = 0, pages = 0;
    int err = db_number(c->db, db_sql(c->db, SQL_PAGES), 0, &pages);
    c->lost_page = pages > STORE_CHECK_PAGES ? LOST_SOME : LOST_ALL;
    if (err == 0)
        err = db_ask(
            c->db,
            "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM newest) + "
            "(SELECT count(*) FROM keys) + (SELECT count(*) FROM pairs) + "
            "(SELECT count(*) FROM tasks)",
            &total);
    c->total = err == 0 ? (uint64_t)total : 0;
    err = pass(c, err, "a table cannot be counted", c->lost_page);
    if (err == 0)
        err = pass(c, check_pages(c), "the file cannot be walked", c->lost_page);
    if (err == 0) err = pass(c, check_head(c), "the head row cannot be read", LOST_ALL);
    if (err == 0) err = check_channels(c);
    if (err == E_DAMAGED) return 0; /* nothing else can be judged */
    if (err == 0)
        err = pass(c, check_events(c), "a page of events cannot be read", LOST_EVENT);
    if (err == 0)
        err = pass(c, check_newest(c), "a page of values cannot be read", LOST_VALUE);
    for (size_t i = 0; err == 0 && i < sizeof tables / sizeof *tables; i++)
        err = pass(c, check_table(c, &tables[i]), tables[i].text, tables[i].lost);
    return err;
}

int store_verify(const struct store_place *where, struct store_job *job,
                 store_found_fn *found, struct store_verdict *out) {
    struct place place;
    *out = (struct store_verdict){0};
    int err = place_open(&place, where, job);
    if (err < 0) return err;
    struct check c = {
        .place = &place, .db = &place.db, .out = out, .job = job, .found = found};
    err = check_all(&c);
    records_free(&c.records);
    return place_close(&place, job, err);
}
