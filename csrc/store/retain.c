/* Retention: what lies above a channel's limits goes, oldest first, in steps that delay no
 * commit; its floor rises in the same transaction. [store thread]
 *
 * A channel that is published to is trimmed in the transaction of the event, once it is an
 * eighth above its limit (at most STORE_SLACK_MAX events), so that not each event writes the
 * channel's row. Ages, and rows that conversions and trims left below the floor, are looked
 * after in rounds. Newest values are not touched: they have a table of their own. */
#include "base/clock.h"
#include "base/planted.h"
#include "store/inner.h"

static int64_t wall_ms(void) {
    return (int64_t)(clock_wall() * 1000);
}

/* How far an event count may be above the limit before it is worth a trim. */
static uint64_t slack_of(uint64_t limit) {
    return limit / 8 < STORE_SLACK_MAX ? limit / 8 : STORE_SLACK_MAX;
}

static bool is_over(const struct record_state *now, const struct store_policy *limits,
                    int64_t wall, bool exactly) {
    if (now->events == 0) return false;
    uint64_t events = limits->events_max, bytes = limits->bytes_max;
    if (!exactly) events += slack_of(events), bytes += bytes / 8;
    if (limits->events_max != STORE_NO_LIMIT && now->events > events) return true;
    if (limits->bytes_max > 0 && now->bytes > bytes) return true;
    return limits->age_ms > 0 && now->oldest_ms + limits->age_ms < wall;
}

struct oldest {
    int64_t seq, at_ms, bytes;
};

struct found {
    struct oldest rows[STORE_TRIM_MAX + 1];
    uint32_t n;
};

/* The oldest rows above the floor, or below it. */
static int find(struct store *s, const struct record *r, enum db_sql which,
                uint32_t limit, struct found *out) {
    sqlite3_stmt *q =
        db_bind(&s->db, which, "iii", r->id, (int64_t)r->now.floor, (int64_t)limit);
    int err;
    out->n = 0;
    while ((err = db_row(&s->db, q)) > 0) {
        struct oldest *o = &out->rows[out->n++];
        o->seq = sqlite3_column_int64(q, 0);
        if (which != SQL_EVENTS_OLDEST) continue;
        o->at_ms = sqlite3_column_int64(q, 1);
        o->bytes = sqlite3_column_int64(q, 2);
    }
    return err;
}

static int delete_row(struct store *s, int64_t seq) {
    s->trimmed++;
    return db_run(&s->db, db_bind(&s->db, SQL_EVENT_DELETE, "i", seq));
}

/* Rows at or below the floor. */
static int clean(struct store *s, struct record *r, uint32_t *budget) {
    struct found dead;
    uint32_t limit = *budget < STORE_TRIM_MAX ? *budget : STORE_TRIM_MAX;
    if (limit == 0) return 0;
    int err = find(s, r, SQL_EVENTS_DEAD, limit, &dead);
    for (uint32_t i = 0; err == 0 && i < dead.n; i++)
        err = delete_row(s, dead.rows[i].seq);
    if (dead.n < limit) r->now.unclean = false;
    *budget -= dead.n;
    return err;
}

/* Trim up to the limits, at most 'limit' rows: the next oldest is read as well, for its age. */
static int trim(struct store *s, struct record *r, int64_t wall, uint32_t *budget) {
    struct found old;
    struct record_state *now = &r->now;
    uint32_t limit = *budget < STORE_TRIM_MAX ? *budget : STORE_TRIM_MAX, i = 0;
    if (limit == 0) return 0;
    int err = find(s, r, SQL_EVENTS_OLDEST, limit + 1, &old);
    for (; err == 0 && i < old.n && i < limit && is_over(now, &r->policy, wall, true);
         i++) {
        err = delete_row(s, old.rows[i].seq);
        if (!PLANTED(205)) now->floor = (uint64_t)old.rows[i].seq;
        now->events--;
        now->bytes -= (uint64_t)old.rows[i].bytes;
        now->oldest_ms = i + 1 < old.n ? old.rows[i + 1].at_ms : 0;
        if (PLANTED(206)) db_run(&s->db, db_bind(&s->db, SQL_NEWEST_CLEAR, "i", r->id));
    }
    *budget -= i;
    return err < 0 ? err : record_write(r, &s->db);
}

int retain_channel(struct store *s, struct record *r, uint32_t *budget) {
    const struct store_policy *limits = write_limits(s, r);
    int64_t wall = wall_ms();
    if (!r->now.durable || !is_over(&r->now, limits, wall, false)) return 0;
    int err = rows_flush(s);
    while (err == 0 && *budget > 0 && is_over(&r->now, limits, wall, true))
        err = trim(s, r, wall, budget);
    return err;
}

/* ---- Rounds -------------------------------------------------------------------------- */

/* Whether a record needs work; counts it first, which only reads. */
static bool needs(struct store *s, struct record *r, int64_t wall) {
    if (!r->now.counted && record_count(r, &s->db) < 0) return false;
    if (r->now.unclean) return true;
    return r->now.durable && is_over(&r->now, write_limits(s, r), wall, false);
}

static bool keys_are_old(struct store *s, int64_t now_us) {
    if (now_us < s->keys_us) return false;
    s->keys_us = now_us + STORE_KEYS_LOOK_MS * 1000;
    sqlite3_stmt *q = db_bind(&s->db, SQL_KEYS_OLDEST, "i", (int64_t)1);
    bool old =
        db_row(&s->db, q) > 0 && sqlite3_column_int64(q, 2) + STORE_KEY_MS < wall_ms();
    db_done(q);
    if (old) s->keys_us = 0;
    return old;
}

bool retain_is_wanted(struct store *s, int64_t now_us) {
    pthread_mutex_lock(&s->lock);
    bool head_is_due = now_us >= group_head_due(s);
    pthread_mutex_unlock(&s->lock);
    if (head_is_due) return true;
    if (now_us < s->maintain_us) return false;
    int64_t wall = wall_ms();
    for (uint32_t i = 0; i < STORE_SWEEP_MAX && i < s->records.n; i++) {
        if (s->sweep >= s->records.n) s->sweep = 0;
        if (needs(s, s->records.all[s->sweep], wall)) return true;
        s->sweep++;
    }
    if (keys_are_old(s, now_us)) return true;
    s->maintain_us = now_us + STORE_MAINTAIN_MS * 1000;
    return false;
}

static int drop_keys(struct store *s, uint32_t *budget) {
    int err = 0;
    int64_t wall = wall_ms();
    while (err == 0 && *budget > 0) {
        sqlite3_stmt *q = db_bind(&s->db, SQL_KEYS_OLDEST, "i", (int64_t)1);
        err = db_row(&s->db, q);
        if (err <= 0) return err;
        bool old = sqlite3_column_int64(q, 2) + STORE_KEY_MS < wall;
        err = old ? db_run(&s->db, db_bind(&s->db, SQL_KEY_DELETE, "ib",
                                           sqlite3_column_int64(q, 0), db_slice(q, 1)))
                  : 0;
        db_done(q);
        if (!old) return err;
        --*budget;
    }
    return err;
}

static int look_after(struct store *s, struct record *r, uint32_t *budget) {
    int err = 0;
    record_touch(&s->records, r);
    if (r->now.unclean) err = clean(s, r, budget);
    return err < 0 ? err : retain_channel(s, r, budget);
}

int retain_round(struct store *s, int64_t now_us) {
    if (now_us < s->maintain_us) return 0;
    int err = 0;
    int64_t wall = wall_ms();
    s->maintain_us = now_us + STORE_MAINTAIN_MS * 1000; /* also when this fails */
    for (uint32_t i = 0; err == 0 && i < STORE_SWEEP_MAX && i < s->records.n; i++) {
        if (s->sweep >= s->records.n) s->sweep = 0;
        struct record *r = s->records.all[s->sweep];
        if (needs(s, r, wall)) err = look_after(s, r, &s->budget);
        if (s->budget == 0) break; /* there may be more of it */
        s->sweep++;
    }
    if (err == 0 && s->budget > 0) err = drop_keys(s, &s->budget);
    if (err == 0 && s->budget == 0) s->maintain_us = now_us + STORE_MORE_MS * 1000;
    return err;
}
