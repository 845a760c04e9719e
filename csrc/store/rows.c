/* Rows of events on their way into the file: several go with one statement, which takes a
 * third less than one for each. They wait in memory until they are so many, until something
 * reads or deletes rows in the same transaction, or until its end. [store thread] */
#include "store/inner.h"

static void give(sqlite3_stmt *stmt, uint32_t i, const struct new_row *n) {
    const struct store_row *row = &n->row;
    db_give(stmt, 1 + 10 * (int)i, "iiiiiibbbi", n->chan, (int64_t)row->seq,
            (int64_t)n->prev, row->at_ms, row->expires_ms, (int64_t)row->remove,
            row->name, row->key, row->data, n->sum);
}

static void give_plain(sqlite3_stmt *stmt, uint32_t i, const struct new_row *n) {
    const struct store_row *row = &n->row;
    db_give(stmt, 2 + 6 * (int)i, "iiibbi", (int64_t)row->seq, (int64_t)n->prev,
            row->at_ms, row->name, row->data, n->sum);
}

static int add(struct store *s, const struct new_row *row) {
    sqlite3_stmt *stmt = db_sql(&s->db, SQL_EVENT_ADD);
    if (stmt) give(stmt, 0, row);
    return db_run(&s->db, stmt);
}

static bool is_plain(const struct new_row *n, int64_t chan) {
    const struct store_row *row = &n->row;
    return n->chan == chan && row->expires_ms == 0 && !row->remove && row->key.n == 0;
}

/* What most events have not is written in the statement. */
static int add_all(struct store *s, const struct new_rows *rows) {
    int64_t chan = rows->all[0].chan;
    bool plain = true;
    for (uint32_t i = 0; i < rows->n; i++) plain = plain && is_plain(&rows->all[i], chan);
    sqlite3_stmt *stmt = db_sql(&s->db, plain ? SQL_EVENTS_ADD_PLAIN : SQL_EVENTS_ADD);
    if (stmt && plain) db_give(stmt, 1, "i", chan);
    for (uint32_t i = 0; stmt && i < rows->n; i++) {
        if (plain) give_plain(stmt, i, &rows->all[i]);
        else give(stmt, i, &rows->all[i]);
    }
    return db_run(&s->db, stmt);
}

int rows_flush(struct store *s) {
    struct new_rows *rows = &s->new_rows;
    int err = 0;
    if (rows->n == DB_ROWS_AT_ONCE) err = add_all(s, rows);
    else
        for (uint32_t i = 0; err == 0 && i < rows->n; i++) err = add(s, &rows->all[i]);
    rows->n = 0;
    return err;
}

int rows_add(struct store *s, const struct new_row *row) {
    struct new_rows *rows = &s->new_rows;
    rows->all[rows->n++] = *row;
    return rows->n == DB_ROWS_AT_ONCE ? rows_flush(s) : 0;
}

void rows_forget(struct store *s) {
    s->new_rows.n = 0;
}
