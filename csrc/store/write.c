/* One operation in an open transaction; see store.h for what each does. [store thread]
 *
 * Order is judged here, where commits are in order: whether a key is known, whether the key
 * of an update is still there. */
#include "base/clock.h"
#include "base/planted.h"
#include "base/status.h"
#include "store/inner.h"
#include "store/sum.h"

static struct store_row row_of(const struct store_event *e, uint64_t seq) {
    return (struct store_row){.seq = seq,
                              .at_ms = e->at_ms,
                              .expires_ms = e->expires_ms,
                              .remove = e->remove,
                              .name = e->name,
                              .key = e->key,
                              .data = e->data};
}

/* ---- Channels ------------------------------------------------------------------------ */

bool write_is_durable(struct store *s, struct slice channel) {
    const struct record *r = record_find(&s->records, channel);
    if (r) return r->now.durable;
    struct store_policy policy = {0};
    uint64_t floor = 0;
    s->calls->policy(s->owner, channel, &policy, &floor);
    return policy.durable;
}

struct store_policy *write_limits(struct store *s, struct record *r) {
    uint64_t floor = 0;
    if (r->policy_serial != s->policy_serial)
        s->calls->policy(s->owner, r->key, &r->policy, &floor);
    r->policy_serial = s->policy_serial;
    return &r->policy;
}

static int record_of(struct store *s, struct slice channel, struct record **out) {
    *out = record_find(&s->records, channel);
    int err = 0;
    if (!*out) {
        struct store_policy policy = {0};
        uint64_t floor = 0;
        s->calls->policy(s->owner, channel, &policy, &floor);
        struct record_as as = {policy.kind, policy.durable, floor};
        err = record_add(&s->records, &s->db, channel, &as, out);
    }
    if (err < 0) return err;
    record_touch(&s->records, *out);
    return record_count(*out, &s->db);
}

/* ---- Newest values -------------------------------------------------------------------- */

static int put_newest(struct store *s, struct record *r, const struct store_row *row) {
    int64_t there = 0;
    int err = db_number(
        &s->db, db_bind(&s->db, SQL_NEWEST_HAS, "ibb", r->id, row->key, row->name), 0,
        &there);
    if (err < 0) return err;
    if (!there) r->now.keys++;
    return db_run(&s->db, db_bind(&s->db, SQL_NEWEST_PUT, "ibbiiibi", r->id, row->key,
                                  row->name, (int64_t)row->seq, row->at_ms,
                                  row->expires_ms, row->data, sum_newest(r->id, row)));
}

int write_newest(struct store *s, struct record *r, const struct store_row *row) {
    if (!row->remove) return put_newest(s, r, row);
    int err = db_run(&s->db, db_bind(&s->db, SQL_NEWEST_REMOVE, "ib", r->id, row->key));
    if (err == 0) r->now.keys -= (uint32_t)db_changes(&s->db);
    return err;
}

static int drop_oldest_key(struct store *s, struct record *r) {
    sqlite3_stmt *q = db_bind(&s->db, SQL_NEWEST_OLDEST, "i", r->id);
    int err = db_row(&s->db, q);
    if (err == 0) r->now.keys = 0;
    if (err <= 0) return err;
    err = db_run(&s->db, db_bind(&s->db, SQL_NEWEST_DELETE, "ibb", r->id, db_slice(q, 0),
                                 db_slice(q, 1)));
    db_done(q);
    r->now.keys--;
    return err;
}

int write_limit_keys(struct store *s, struct record *r) {
    const struct store_policy *limits = write_limits(s, r);
    int err = 0;
    while (err == 0 && limits->keys_max != STORE_NO_LIMIT &&
           r->now.keys > limits->keys_max)
        err = drop_oldest_key(s, r);
    return err;
}

/* ---- Events --------------------------------------------------------------------------- */

static int put_row(struct store *s, struct record *r, const struct store_row *row,
                   int64_t sum) {
    struct record_state *now = &r->now;
    int err = rows_add(
        s, &(struct new_row){.chan = r->id, .sum = sum, .prev = now->last, .row = *row});
    if (now->events == 0) now->oldest_ms = row->at_ms;
    now->last = row->seq;
    now->events++;
    now->bytes += row->name.n + row->key.n + row->data.n;
    return err;
}

static int store_row(struct store *s, struct record *r, const struct store_row *row) {
    return put_row(s, r, row, sum_event(r->id, r->now.last, row));
}

int write_lost(struct store *s, struct record *r, uint64_t upto) {
    struct slice none = slice_str("");
    struct store_row row = {.seq = upto,
                            .at_ms = (int64_t)(clock_wall() * 1000),
                            .name = none,
                            .key = none,
                            .data = none};
    int err = put_row(s, r, &row, sum_lost(r->id, r->now.last, &row));
    return err < 0 ? err : rows_flush(s);
}

/* Whether its idempotency key is known: then the op is answered. */
static int find_key(struct store *s, struct record *r, struct store_op *op, bool *known) {
    const struct store_event *e = &op->event;
    sqlite3_stmt *q = db_bind(&s->db, SQL_KEY_FIND, "ib", r->id, e->idempotency);
    int err = db_row(&s->db, q);
    if (err <= 0) return err;
    uint64_t seq = db_u64(q, 0);
    int64_t at_ms = sqlite3_column_int64(q, 1);
    bool sound = sum_key(r->id, e->idempotency, seq, at_ms) == sqlite3_column_int64(q, 2);
    db_done(q);
    *known = sound && at_ms > e->at_ms - STORE_KEY_MS && !PLANTED(201);
    if (!*known) return 0;
    op->answer = STORE_DUPLICATE;
    op->seq = seq;
    return 0;
}

static int has_key(struct store *s, struct record *r, struct slice key, bool *there) {
    int64_t n = 0;
    int err =
        db_number(&s->db, db_bind(&s->db, SQL_NEWEST_HAS_KEY, "ib", r->id, key), 0, &n);
    *there = n > 0 || PLANTED(202);
    return err;
}

static int keep(struct store *s, struct record *r, struct store_op *op) {
    const struct store_event *e = &op->event;
    struct store_row row = row_of(e, op->seq);
    int err = 0;
    if (r->now.kind != STORE_STATE) err = store_row(s, r, &row);
    if (err == 0 && r->now.kind != STORE_LOG) err = write_newest(s, r, &row);
    if (err == 0 && r->now.kind != STORE_LOG) err = write_limit_keys(s, r);
    if (err == 0 && e->idempotency.n > 0)
        err = db_run(&s->db, db_bind(&s->db, SQL_KEY_PUT, "ibiii", r->id, e->idempotency,
                                     (int64_t)op->seq, e->at_ms,
                                     sum_key(r->id, e->idempotency, op->seq, e->at_ms)));
    if (err == 0) err = retain_channel(s, r, &s->budget);
    if (err == 0) op->answer = STORE_STORED;
    return err;
}

static int write_event(struct store *s, struct store_op *op) {
    struct record *r = NULL;
    bool known = false, there = true;
    int err = record_of(s, op->event.channel, &r);
    if (err == 0 && op->event.idempotency.n > 0) err = find_key(s, r, op, &known);
    if (err < 0 || known) return err;
    if (op->event.update) err = has_key(s, r, op->event.key, &there);
    if (err < 0) return err;
    if (!there) {
        op->answer = STORE_NO_KEY;
        return 0;
    }
    return keep(s, r, op);
}

/* The floor is the newest row that goes, no number between two rows: what is between was not
 * missed. */
static int write_trim(struct store *s, struct store_op *op) {
    struct record *r = NULL;
    int64_t floor = 0;
    int err = record_of(s, op->trim.channel, &r);
    op->answer = STORE_STORED;
    if (err == 0)
        err = db_number(
            &s->db, db_bind(&s->db, SQL_EVENTS_UPTO, "ii", r->id, (int64_t)op->trim.seq),
            0, &floor);
    if (err < 0 || (uint64_t)floor <= r->now.floor) return err;
    r->now.floor = (uint64_t)floor;
    r->now.events = r->now.bytes = 0;
    r->now.counted_to = r->now.floor;
    r->now.counted = false;
    err = record_count(r, &s->db);
    r->now.unclean = true;
    return err < 0 ? err : record_write(r, &s->db);
}

/* ---- Pairs and tasks ------------------------------------------------------------------ */

static int write_pair(struct store *s, struct store_op *op) {
    const struct store_pair *p = &op->pair;
    sqlite3_stmt *stmt = op->kind == STORE_SET
                             ? db_bind(&s->db, SQL_PAIR_PUT, "bbbi", p->store, p->key,
                                       p->value, sum_pair(p))
                             : db_bind(&s->db, SQL_PAIR_DELETE, "bb", p->store, p->key);
    op->answer = STORE_STORED;
    return db_run(&s->db, stmt);
}

static int write_task(struct store *s, struct store_op *op) {
    const struct store_task *t = &op->task;
    sqlite3_stmt *stmt = op->kind == STORE_TASK_PUT
                             ? db_bind(&s->db, SQL_TASK_PUT, "bibbi", t->id, t->due_ms,
                                       t->name, t->data, sum_task(t))
                             : db_bind(&s->db, SQL_TASK_DELETE, "b", t->id);
    op->answer = STORE_STORED;
    return db_run(&s->db, stmt);
}

int write_op(struct store *s, struct store_op *op) {
    int err = op->kind == STORE_EVENT ? 0 : rows_flush(s);
    if (err < 0) return err;
    switch (op->kind) {
    case STORE_EVENT: return write_event(s, op);
    case STORE_TRIM: return write_trim(s, op);
    case STORE_SET:
    case STORE_DELETE: return write_pair(s, op);
    case STORE_TASK_PUT:
    case STORE_TASK_DELETE: return write_task(s, op);
    case STORE_CONVERT: break;
    }
    op->answer = STORE_STORED;
    return convert_all(s, &op->conversion, op->seq, true);
}
