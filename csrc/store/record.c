/* A map, an array for walks, and a chain of what a transaction has touched; see record.h. */
#include "store/record.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/pattern.h"
#include "base/status.h"
#include "store/columns.h"
#include "store/sum.h"

#include <assert.h>

struct slice record_key(const struct map_node *node) {
    return container_of(node, const struct record, node)->key;
}

static struct record *new_record(struct slice name) {
    struct record *r = mem_new(sizeof *r + name.n + 1);
    memcpy(r->name, name.p, name.n);
    r->key = slice_of(r->name, name.n);
    return r;
}

bool record_has_events(const struct record *r) {
    return r->now.kind != STORE_STATE && pattern_check_channel(r->key) == NULL;
}

static int append(struct records *rs, struct record *r) {
    if (rs->n == rs->cap) {
        uint32_t cap = rs->cap ? 2 * rs->cap : 64;
        struct record **all = mem_resize(rs->all, cap * sizeof *all);
        if (!all) return E_NOMEM;
        rs->all = all;
        rs->cap = cap;
    }
    rs->all[rs->n++] = r;
    map_add(&rs->by_name, &r->node);
    return 0;
}

static int read_row(struct record **out, sqlite3_stmt *q) {
    struct sum_channel c = columns_channel(q);
    if (sum_channel(&c) != sqlite3_column_int64(q, 8)) return E_DAMAGED;
    struct record *r = new_record(c.name);
    r->id = c.id;
    r->now = (struct record_state){.kind = c.kind,
                                   .durable = c.durable,
                                   .floor = c.floor,
                                   .last = c.floor,
                                   .events = c.events,
                                   .bytes = c.bytes,
                                   .counted_to = c.counted};
    *out = r;
    return 0;
}

static int load_last(struct record *r, struct db *db) {
    int64_t last = 0;
    int err = db_number(db, db_bind(db, SQL_CHANNEL_LAST, "i", r->id), 0, &last);
    if ((uint64_t)last > r->now.last) r->now.last = (uint64_t)last;
    return err;
}

int records_load(struct records *rs, struct db *db) {
    *rs = (struct records){0};
    map_init(&rs->by_name, record_key);
    sqlite3_stmt *q = db_sql(db, SQL_CHANNELS);
    int err;
    while ((err = db_row(db, q)) > 0) {
        struct record *r = NULL;
        err = read_row(&r, q);
        if (err == 0 && record_find(rs, r->key)) err = E_DAMAGED;
        if (err == 0) err = append(rs, r);
        if (err < 0) {
            mem_free(r);
            break;
        }
    }
    db_done(q);
    for (uint32_t i = 0; err == 0 && i < rs->n; i++) err = load_last(rs->all[i], db);
    if (err < 0) records_free(rs);
    return err;
}

void records_free(struct records *rs) {
    for (uint32_t i = 0; i < rs->n; i++) mem_free(rs->all[i]);
    mem_free(rs->all);
    map_deinit(&rs->by_name);
    *rs = (struct records){0};
}

struct record *record_find(struct records *rs, struct slice name) {
    if (rs->found && slice_eq(rs->found->key, name)) return rs->found;
    struct map_node *node = map_get(&rs->by_name, name);
    rs->found = node ? container_of(node, struct record, node) : NULL;
    return rs->found;
}

const struct record *record_by_id(const struct records *rs, int64_t id) {
    for (uint32_t low = 0, high = rs->n; low < high;) {
        uint32_t mid = low + (high - low) / 2;
        const struct record *r = rs->all[mid];
        if (r->id == id) return r;
        if (r->id < id) low = mid + 1;
        else high = mid;
    }
    return NULL;
}

static int64_t sum_of(const struct record *r) {
    const struct record_state *now = &r->now;
    struct sum_channel c = {.id = r->id,
                            .name = r->key,
                            .kind = now->kind,
                            .durable = now->durable,
                            .floor = now->floor,
                            .events = now->events,
                            .bytes = now->bytes,
                            .counted = now->counted_to};
    return sum_channel(&c);
}

int record_add(struct records *rs, struct db *db, struct slice name,
               const struct record_as *as, struct record **out) {
    if (rs->n >= CHANNELS_MAX) return E_FULL;
    struct record *r = new_record(name);
    r->id = rs->n > 0 ? rs->all[rs->n - 1]->id + 1 : 1;
    r->now = (struct record_state){.kind = as->kind,
                                   .durable = as->durable,
                                   .floor = as->floor,
                                   .last = as->floor,
                                   .counted_to = as->floor,
                                   .counted = true};
    int err = append(rs, r);
    if (err < 0) {
        mem_free(r);
        return err;
    }
    r->is_new = true;
    record_touch(rs, r);
    *out = r;
    return db_run(db, db_bind(db, SQL_CHANNEL_ADD, "isiiiiiii", r->id, r->key,
                              (int64_t)as->kind, (int64_t)as->durable, (int64_t)as->floor,
                              (int64_t)0, (int64_t)0, (int64_t)as->floor, sum_of(r)));
}

void record_touch(struct records *rs, struct record *r) {
    if (r->is_touched) return;
    r->is_touched = true;
    r->before = r->now;
    r->touched = rs->touched;
    rs->touched = r;
}

int record_write(struct record *r, struct db *db) {
    struct record_state *now = &r->now;
    assert(r->is_touched);
    if (now->counted) now->counted_to = now->last;
    return db_run(db, db_bind(db, SQL_CHANNEL_SET, "iiiiiiii", (int64_t)now->kind,
                              (int64_t)now->durable, (int64_t)now->floor,
                              (int64_t)now->events, (int64_t)now->bytes,
                              (int64_t)now->counted_to, sum_of(r), r->id));
}

static int count_events(struct record *r, struct db *db) {
    struct record_state *now = &r->now;
    uint64_t from = now->counted_to > now->floor ? now->counted_to : now->floor;
    sqlite3_stmt *q = db_bind(db, SQL_EVENTS_COUNT, "ii", r->id, (int64_t)from);
    int err = db_row(db, q);
    if (err <= 0) return err;
    now->events += db_u64(q, 0);
    now->bytes += db_u64(q, 1);
    db_done(q);
    q = db_bind(db, SQL_EVENTS_OLDEST, "iii", r->id, (int64_t)now->floor, (int64_t)1);
    err = db_row(db, q);
    now->oldest_ms = err > 0 ? sqlite3_column_int64(q, 1) : 0;
    db_done(q);
    return err < 0 ? err : 0;
}

int record_count(struct record *r, struct db *db) {
    if (r->now.counted) return 0;
    int64_t keys = 0, dead = 0;
    int err = count_events(r, db);
    if (err == 0)
        err = db_number(db, db_bind(db, SQL_NEWEST_COUNT, "i", r->id), 0, &keys);
    if (err == 0)
        err = db_number(
            db,
            db_bind(db, SQL_EVENTS_DEAD, "iii", r->id, (int64_t)r->now.floor, (int64_t)1),
            0, &dead);
    if (err < 0) return err;
    r->now.keys = (uint32_t)keys;
    r->now.unclean = dead > 0;
    r->now.counted = true;
    return 0;
}

void records_commit(struct records *rs) {
    while (rs->touched) {
        struct record *r = rs->touched;
        rs->touched = r->touched;
        r->is_touched = r->is_new = false;
    }
}

/* The newest were made last, so they end the array. */
void records_rollback(struct records *rs) {
    while (rs->touched) {
        struct record *r = rs->touched;
        rs->touched = r->touched;
        r->is_touched = false;
        r->now = r->before;
        if (!r->is_new) continue;
        assert(rs->all[rs->n - 1] == r);
        if (rs->found == r) rs->found = NULL;
        rs->n--;
        map_remove(&rs->by_name, &r->node);
        mem_free(r);
    }
}
