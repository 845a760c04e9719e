/* A channel becomes another kind, durable or not, in one transaction with its number; the
 * floor says since when its rows are whole. [store thread]
 *
 *   durable -> memory   its rows and newest values go; the floor rises to its newest row, so
 *                       that a later life does not pass for the continuation of this one
 *   memory -> durable   the newest values are those that it has; what it published before is
 *                       not stored: the floor is its newest number (at a start: the first
 *                       number of this run)
 *   state <-> log       nothing of one is the other
 *   log <-> keyed log   the newest values are found again in the rows
 *
 * What is deleted by it is said when the transaction is in the file. */
#include "base/bounds.h"
#include "base/log.h"
#include "base/planted.h"
#include "base/status.h"
#include "store/columns.h"
#include "store/inner.h"

#include <stdio.h>

static void raise_floor(struct record *r, uint64_t floor) {
    struct record_state *now = &r->now;
    if (floor > now->floor) now->floor = floor;
    if (now->floor > now->last) now->last = now->floor;
}

/* Its events go: at once for readers, since the floor is above them; from the file in the
 * steps of retention. */
static void drop_events(struct record *r) {
    struct record_state *now = &r->now;
    if (now->events > 0) now->unclean = true;
    if (!PLANTED(217)) raise_floor(r, now->last);
    now->events = now->bytes = 0;
    now->oldest_ms = 0;
}

static int drop_newest(struct store *s, struct record *r) {
    r->now.keys = 0;
    return db_run(&s->db, db_bind(&s->db, SQL_NEWEST_CLEAR, "i", r->id));
}

static int take_lives(struct store *s, struct record *r, const struct store_change *c) {
    int err = 0;
    for (uint32_t i = 0; err == 0 && i < c->n_lives; i++) {
        const struct store_live *l = &c->lives[i];
        struct store_row row = {.seq = l->seq,
                                .at_ms = l->at_ms,
                                .expires_ms = l->expires_ms,
                                .name = l->name,
                                .key = l->key,
                                .data = l->data};
        err = write_newest(s, r, &row);
    }
    return err;
}

static int find_newest(struct store *s, struct record *r) {
    sqlite3_stmt *q =
        db_bind(&s->db, SQL_EVENTS_ABOVE, "ii", r->id, (int64_t)r->now.floor);
    int err;
    while ((err = db_row(&s->db, q)) > 0) {
        struct store_row row = columns_event(q, 0);
        err = write_newest(s, r, &row);
        if (err < 0) break;
    }
    db_done(q);
    return err < 0 ? err : write_limit_keys(s, r);
}

struct conversion {
    struct store_policy to;
    const struct store_change *change; /* NULL: nothing is said of it */
    enum store_kind was;
    bool was_durable, known;
    uint64_t number; /* its newest, or the first of this run */
    bool live;
};

static int change_durability(struct store *s, struct record *r,
                             const struct conversion *c) {
    if (c->was_durable && !c->to.durable) {
        drop_events(r);
        return drop_newest(s, r);
    }
    if (c->was_durable || !c->to.durable) return 0;
    drop_events(r);
    if (!PLANTED(203)) raise_floor(r, c->number);
    int err = drop_newest(s, r);
    bool same = c->change && c->was == c->to.kind && c->to.kind != STORE_LOG;
    return err == 0 && same && !PLANTED(204) ? take_lives(s, r, c->change) : err;
}

static int change_kind(struct store *s, struct record *r, const struct conversion *c) {
    if ((c->was == STORE_STATE) != (c->to.kind == STORE_STATE)) {
        drop_events(r);
        if (c->to.kind == STORE_STATE && c->live) raise_floor(r, c->number);
        return drop_newest(s, r);
    }
    if (c->was == c->to.kind || !c->to.durable || !c->known) return 0;
    int err = drop_newest(s, r);
    return err == 0 && c->to.kind == STORE_KEYED ? find_newest(s, r) : err;
}

static int convert(struct store *s, struct record *r, const struct conversion *c) {
    int err = record_count(r, &s->db);
    if (err < 0) return err;
    record_touch(&s->records, r);
    r->policy = c->to; /* its newest values are limited by what it becomes */
    r->policy_serial = s->policy_serial;
    err = change_durability(s, r, c);
    if (err == 0) err = change_kind(s, r, c);
    r->now.kind = c->to.kind;
    r->now.durable = c->to.durable;
    return err < 0 ? err : record_write(r, &s->db);
}

/* A durable pattern stays one, and what a memory channel has lost may be asked of it now. It
 * has no rows: one that does is a channel. */
static int lift(struct store *s, struct record *r, uint64_t floor) {
    if (floor <= r->now.floor) return 0;
    int err = record_count(r, &s->db);
    if (err < 0 || r->now.events > 0 || r->now.keys > 0) return err;
    record_touch(&s->records, r);
    raise_floor(r, floor);
    return record_write(r, &s->db);
}

/* A channel that the file knows. */
static int convert_known(struct store *s, struct record *r, const struct conversion *plan,
                         const struct store_change *change) {
    struct conversion c = *plan;
    bool was_memory = c.live && !r->now.durable;
    if (c.to.kind == r->now.kind && c.to.durable == r->now.durable)
        return change && c.live && c.to.durable ? lift(s, r, change->newest) : 0;
    c.change = change;
    c.was = was_memory && change ? change->was : r->now.kind;
    c.was_durable = r->now.durable;
    c.known = true;
    if (c.live) c.number = r->now.last;
    if (was_memory && c.number < plan->number) c.number = plan->number;
    if (c.live && change && change->newest > r->now.last) c.number = change->newest;
    return convert(s, r, &c);
}

/* One that it does not know: a memory channel so far, or a pattern. */
static int convert_other(struct store *s, const struct store_change *change,
                         const struct conversion *plan) {
    struct conversion c = *plan;
    if (!c.to.durable) return 0;
    c.change = change;
    c.was = change->was;
    if (c.live) c.number = change->newest;
    struct record *r = NULL;
    struct record_as as = {.kind = c.was};
    int err = record_add(&s->records, &s->db, change->name, &as, &r);
    return err < 0 ? err : convert(s, r, &c);
}

static int convert_change(struct store *s, const struct store_conversion *all,
                          const struct store_change *change, uint64_t number, bool live) {
    struct conversion plan = {.number = number, .live = live};
    all->judge(all->arg, change->name, &plan.to);
    struct record *r = record_find(&s->records, change->name);
    return r ? convert_known(s, r, &plan, change) : convert_other(s, change, &plan);
}

int convert_all(struct store *s, const struct store_conversion *c, uint64_t number,
                bool live) {
    int err = 0;
    if (live) number = c->newest;
    for (uint32_t i = 0; err == 0 && i < c->n_changes; i++)
        err = convert_change(s, c, &c->changes[i], number, live);
    for (uint32_t i = 0; err == 0 && i < s->records.n; i++) {
        struct record *r = s->records.all[i]; /* one that is converted differs no more */
        struct conversion plan = {.number = number, .live = live};
        c->judge(c->arg, r->key, &plan.to);
        err = convert_known(s, r, &plan, NULL);
    }
    return err;
}

/* ---- What it has deleted --------------------------------------------------------------- */

#define NAMED_MAX 5 /* channels that the line names */

struct deleted {
    char text[NAMED_MAX * (CHANNEL_NAME_MAX + 128)];
    size_t n;
    uint32_t channels;
};

static bool is_deleted(const struct record *r) {
    const struct record_state *was = &r->before, *now = &r->now;
    bool turns = (was->kind == STORE_STATE) != (now->kind == STORE_STATE);
    return was->durable && (!now->durable || turns) && (was->events > 0 || was->keys > 0);
}

static void count_text(char *out, size_t room, uint64_t n, const char *what) {
    *out = 0;
    if (n > 0)
        snprintf(out, room, "%llu %s%s", (unsigned long long)n, what, n == 1 ? "" : "s");
}

static void add_deleted(struct deleted *d, const struct record *r) {
    const struct record_state *was = &r->before;
    char events[48], values[48];
    if (++d->channels > NAMED_MAX) return;
    count_text(events, sizeof events, was->events, "event");
    count_text(values, sizeof values, was->keys, "newest value");
    int n = snprintf(d->text + d->n, sizeof d->text - d->n, "%s'%s' (%s%s%s)",
                     d->n > 0 ? ", " : "", r->name, events,
                     *events && *values ? ", " : "", values);
    d->n += (size_t)n;
}

void convert_report(const struct store *s) {
    struct deleted d = {.n = 0};
    for (const struct record *r = s->records.touched; r; r = r->touched)
        if (is_deleted(r)) add_deleted(&d, r);
    if (d.channels == 0) return;
    char more[48] = "";
    if (d.channels > NAMED_MAX)
        snprintf(more, sizeof more, " and %u channels more",
                 (unsigned)(d.channels - NAMED_MAX));
    log_printf(LOG_WARN,
               "store: deleted what was stored of %s%s: not durable any more, or of "
               "another kind; only a backup brings it back",
               d.text, more);
}
