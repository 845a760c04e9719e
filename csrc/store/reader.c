/* The reading thread and its pages; see read.h. A page and its floor come from one read
 * transaction; what a checksum or the chain of 'prev' numbers shows to be missing raises the
 * floor, as if it had been trimmed. */
#include "store/reader.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"
#include "store/columns.h"
#include "store/inner.h"
#include "store/sum.h"

/* ---- Pages ---------------------------------------------------------------------------- */

/* A page under construction: the bytes first, with places instead of pointers, since the
 * buffer moves. */
struct making {
    struct store_read *read;
    struct store_page page;
    struct buf rows, bytes;
    int64_t chan;
    uint64_t place; /* everything up to here was given, or is gone */
    bool ends;
};

static int find_channel(struct db *db, struct making *m) {
    sqlite3_stmt *q = db_bind(db, SQL_CHANNEL_FLOOR, "s", m->read->channel);
    int err = db_row(db, q);
    if (err <= 0) return err;
    struct sum_channel c = columns_channel(q);
    bool sound = sum_channel(&c) == sqlite3_column_int64(q, 8);
    db_done(q);
    m->chan = c.id;
    m->page.floor = c.floor;
    return sound ? 1 : E_DAMAGED;
}

static int add_text(struct making *m, struct slice *s) {
    size_t at = m->bytes.n;
    int err = buf_add(&m->bytes, s->p, s->n);
    s->p = (const char *)at; /* NOLINT: a place until all bytes are there */
    return err;
}

static int add_row(struct making *m, struct store_row row) {
    int err = add_text(m, &row.name);
    if (err == 0) err = add_text(m, &row.key);
    if (err == 0) err = add_text(m, &row.data);
    if (err == 0) err = buf_add(&m->rows, &row, sizeof row);
    if (err == 0) m->page.n++;
    return err;
}

/* What is missing up to 'seq' is reported before what comes after it: a page with rows ends. */
static void miss(struct making *m, uint64_t seq) {
    m->page.damaged = true;
    if (m->page.n > 0) m->ends = true;
    else m->page.floor = m->place = seq;
}

static int take_row(struct making *m, sqlite3_stmt *q) {
    struct store_row row = columns_event(q, 0);
    uint64_t prev = db_u64(q, 1);
    bool sound = sum_event(m->chan, prev, &row) == sqlite3_column_int64(q, 8);
    if ((!sound && !PLANTED(211)) || row.seq <= m->place) { /* or out of order */
        miss(m, row.seq > m->place ? row.seq : m->place);
        return 0;
    }
    if (prev > m->place) miss(m, prev); /* rows between are not there */
    if (m->ends) return 0;
    size_t bytes = m->bytes.n + row.name.n + row.key.n + row.data.n;
    if (m->page.n > 0 && (m->page.n >= m->read->rows_max || bytes > m->read->bytes_max)) {
        m->ends = true;
        return 0;
    }
    m->place = row.seq;
    return add_row(m, row);
}

/* A scan ends early where a key of the index is damaged; the newest row is found from the
 * other side. */
static int look_behind(struct db *db, struct making *m) {
    int64_t newest = 0;
    int err =
        db_number(db, db_bind(db, SQL_EVENTS_UPTO, "ii", m->chan, (int64_t)m->read->head),
                  0, &newest);
    if (err == 0 && (uint64_t)newest > m->place) miss(m, (uint64_t)newest);
    return err;
}

/* The next row, which memory has, knows what comes before it. */
static int look_above(struct db *db, struct making *m) {
    uint64_t head = m->read->head;
    sqlite3_stmt *q =
        db_bind(db, SQL_PAGE, "iii", m->chan, (int64_t)head, (int64_t)INT64_MAX);
    int err = db_row(db, q);
    if (err <= 0) return err;
    struct store_row row = columns_event(q, 0);
    uint64_t prev = db_u64(q, 1);
    bool sound = sum_event(m->chan, prev, &row) == sqlite3_column_int64(q, 8);
    db_done(q);
    if (sound && prev > m->place && prev <= head) miss(m, prev);
    return 0;
}

/* The place of the newest rows: below the oldest of them. */
static int find_place(struct db *db, const struct making *m, uint64_t *place) {
    const struct store_read *r = m->read;
    int64_t oldest = 0;
    if (r->newest == UINT32_MAX) {
        *place = m->page.floor < r->newest_head ? m->page.floor : r->newest_head;
        return 0;
    }
    sqlite3_stmt *q =
        db_bind(db, SQL_EVENTS_NEWEST, "iiii", m->chan, (int64_t)m->page.floor,
                (int64_t)r->newest_head, (int64_t)r->newest);
    int err = db_number(db, q, 0, &oldest);
    *place = oldest > 0 ? (uint64_t)oldest - 1 : r->newest_head;
    return err;
}

static int read_rows(struct db *db, struct making *m) {
    const struct store_read *r = m->read;
    uint64_t head = PLANTED(212) ? INT64_MAX : r->head;
    uint64_t floor = PLANTED(213) ? 0 : m->page.floor;
    m->place = r->above > floor ? r->above : floor;
    sqlite3_stmt *q =
        db_bind(db, SQL_PAGE, "iii", m->chan, (int64_t)m->place, (int64_t)head);
    if (PLANTED(213)) m->page.floor = 0;
    int err = 0;
    while (!m->ends && err == 0 && (err = db_row(db, q)) > 0) err = take_row(m, q);
    db_done(q);
    if (err == 0 && !m->ends) err = look_behind(db, m);
    if (err == 0 && !m->ends) err = look_above(db, m);
    m->page.more = m->ends;
    m->page.upto = m->ends ? m->place : r->head;
    return err;
}

static void hand_over(struct making *m) {
    struct store_row *rows = (void *)m->rows.p;
    for (uint32_t i = 0; i < m->page.n; i++) {
        struct slice *texts[] = {&rows[i].name, &rows[i].key, &rows[i].data};
        for (int k = 0; k < 3; k++) texts[k]->p = m->bytes.p + (size_t)texts[k]->p;
    }
    m->page.rows = rows;
    m->page.bytes = m->bytes.p;
    m->read->page = m->page;
}

int reader_page(struct db *db, struct store_read *r) {
    struct making m = {.read = r};
    int err = db_run(db, db_sql(db, SQL_BEGIN_READ));
    if (err == 0) err = find_channel(db, &m);
    if (err > 0 && r->newest > 0) {
        int found = find_place(db, &m, &r->above);
        if (found < 0) err = found;
    }
    if (err > 0) err = read_rows(db, &m);
    else if (err == 0) m.page.upto = r->head; /* a channel that has no row has no rows */
    if (!sqlite3_get_autocommit(db->handle)) db_run(db, db_sql(db, SQL_COMMIT));
    if (err == E_DAMAGED) { /* nothing that is left of it can be trusted */
        buf_free(&m.rows);
        buf_free(&m.bytes);
        m.page = (struct store_page){.floor = r->head, .upto = r->head, .damaged = true};
        err = 0;
    }
    if (err == 0) hand_over(&m);
    else {
        buf_free(&m.rows);
        buf_free(&m.bytes);
    }
    return err;
}

void store_page_free(struct store_page *p) {
    mem_free(p->rows);
    mem_free(p->bytes);
    *p = (struct store_page){0};
}

/* ---- Keys ----------------------------------------------------------------------------- */

static int find_key(struct db *db, struct store_read *r) {
    sqlite3_stmt *q = db_bind(db, SQL_KEY_OF, "sb", r->channel, r->key);
    int err = db_row(db, q);
    if (err <= 0) return err == 0 ? E_NOTFOUND : err;
    uint64_t seq = db_u64(q, 0);
    int64_t at_ms = sqlite3_column_int64(q, 1);
    bool sound = sum_key(sqlite3_column_int64(q, 3), r->key, seq, at_ms) ==
                 sqlite3_column_int64(q, 2);
    db_done(q);
    int64_t now_ms = (int64_t)(clock_wall() * 1000);
    if (!sound || at_ms + STORE_KEY_MS < now_ms) return E_NOTFOUND;
    r->seq = seq;
    return 0;
}

/* ---- Damage --------------------------------------------------------------------------- */

struct told {
    struct map_node node;
    size_t name_n;
    char name[];
};

static struct slice told_key(const struct map_node *node) {
    const struct told *t = container_of(node, const struct told, node);
    return slice_of(t->name, t->name_n);
}

/* A channel whose readers come back again and again says it once. */
static void tell_damage(struct store *s, struct slice channel) {
    struct reader *reader = &s->reader;
    reader->damaged++;
    if (map_get(&reader->told, channel)) return;
    struct told *t = mem_new(sizeof *t + channel.n);
    memcpy(t->name, channel.p, channel.n);
    t->name_n = channel.n;
    map_add(&reader->told, &t->node);
    log_printf(LOG_ERROR,
               "store: events of '%.*s' are damaged or not there: who needs them gets a "
               "reset. 'sluice store verify' lists them",
               (int)channel.n, channel.p);
}

static void forget_told(struct reader *reader) {
    for (struct map_node *node; (node = map_next(&reader->told, NULL));) {
        map_remove(&reader->told, node);
        mem_free(container_of(node, struct told, node));
    }
    map_deinit(&reader->told);
}

/* ---- Requests ------------------------------------------------------------------------- */

static int answer(struct store *s, struct store_read *r) {
    struct reader *reader = &s->reader;
    if (reader->is_shut) return E_STORE;
    if (!reader->is_open) {
        int err = db_open(&reader->db, s->file, s->vfs, DB_READ);
        if (err < 0) return err == E_DAMAGED ? E_STORE : err;
        reader->is_open = true;
    }
    if (r->kind == STORE_READ_KEY) return find_key(&reader->db, r);
    int err = reader_page(&reader->db, r);
    if (err == 0 && r->page.damaged) tell_damage(s, r->channel);
    return err;
}

static void serve(struct store *s, struct store_read *r) {
    r->page = (struct store_page){0};
    r->seq = 0;
    pthread_mutex_lock(&s->reader.gate);
    r->err = answer(s, r);
    pthread_mutex_unlock(&s->reader.gate);
    r->done(r->owner, r);
}

int store_read(struct store *s, struct store_read *r) {
    struct reader *reader = &s->reader;
    int err = 0;
    r->queued_us = clock_us();
    pthread_mutex_lock(&reader->lock);
    if (reader->closing) err = E_CLOSED;
    else if (reader->n >= STORE_READS_MAX) err = E_BUSY;
    else {
        list_add(&reader->queue, &r->node);
        reader->n++;
    }
    pthread_mutex_unlock(&reader->lock);
    if (err == 0) pthread_cond_signal(&reader->woken);
    return err;
}

/* [reader->lock] NULL: nothing waits. */
static struct store_read *take(struct reader *reader) {
    if (list_empty(&reader->queue)) return NULL;
    struct store_read *r = container_of(reader->queue.next, struct store_read, node);
    list_remove(&r->node);
    reader->n--;
    return r;
}

void reader_shut(struct reader *reader) {
    pthread_mutex_lock(&reader->gate);
    db_close(&reader->db);
    reader->is_open = false;
    reader->is_shut = true;
    pthread_mutex_unlock(&reader->gate);
}

void reader_open(struct reader *reader) {
    pthread_mutex_lock(&reader->gate);
    reader->is_shut = false;
    pthread_mutex_unlock(&reader->gate);
}

/* ---- Drivers -------------------------------------------------------------------------- */

static void *run(void *arg) {
    struct store *s = arg;
    struct reader *reader = &s->reader;
    pthread_setname_np(pthread_self(), "sluice-read");
    for (;;) {
        pthread_mutex_lock(&reader->lock);
        while (!reader->closing && list_empty(&reader->queue))
            pthread_cond_wait(&reader->woken, &reader->lock);
        struct store_read *r = reader->closing ? NULL : take(reader);
        pthread_mutex_unlock(&reader->lock);
        if (!r) return NULL;
        yield_if_urgent(&reader->yield);
        serve(s, r);
    }
}

int reader_run(struct store *s) {
    int err = -pthread_create(&s->reader.thread, NULL, run, s);
    s->reader.has_thread = err == 0;
    return err;
}

void reader_stop(struct store *s) {
    struct reader *reader = &s->reader;
    pthread_mutex_lock(&reader->lock);
    reader->closing = true;
    pthread_cond_signal(&reader->woken);
    pthread_mutex_unlock(&reader->lock);
    if (reader->has_thread) pthread_join(reader->thread, NULL);
    reader->has_thread = false;
}

bool reader_step(struct store *s, int64_t now_us) {
    struct reader *reader = &s->reader;
    bool any = false;
    for (;;) {
        pthread_mutex_lock(&reader->lock);
        bool due = !list_empty(&reader->queue) && reader_next(s) <= now_us;
        struct store_read *r = due ? take(reader) : NULL;
        pthread_mutex_unlock(&reader->lock);
        if (!r) return any;
        serve(s, r);
        any = true;
    }
}

int64_t reader_next(struct store *s) {
    const struct reader *reader = &s->reader;
    if (list_empty(&reader->queue)) return INT64_MAX;
    return container_of(reader->queue.next, struct store_read, node)->queued_us +
           reader->pace_us;
}

void reader_init(struct reader *reader) {
    *reader = (struct reader){0};
    pthread_mutex_init(&reader->lock, NULL);
    pthread_cond_init(&reader->woken, NULL);
    pthread_mutex_init(&reader->gate, NULL);
    list_init(&reader->queue);
    map_init(&reader->told, told_key);
}

void reader_deinit(struct reader *reader) {
    for (struct store_read *r; (r = take(reader));) {
        r->err = E_CLOSED;
        r->page = (struct store_page){0};
        r->done(r->owner, r);
    }
    db_close(&reader->db);
    forget_told(reader);
    pthread_mutex_destroy(&reader->gate);
    pthread_cond_destroy(&reader->woken);
    pthread_mutex_destroy(&reader->lock);
}
