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

static int add(struct store *s, enum db_sql which, const struct new_row *rows,
               uint32_t n) {
    sqlite3_stmt *stmt = db_sql(&s->db, which);
    for (uint32_t i = 0; stmt && i < n; i++) give(stmt, i, &rows[i]);
    return db_run(&s->db, stmt);
}

int rows_flush(struct store *s) {
    struct new_rows *rows = &s->new_rows;
    int err = 0;
    if (rows->n == DB_ROWS_AT_ONCE) err = add(s, SQL_EVENTS_ADD, rows->all, rows->n);
    else
        for (uint32_t i = 0; err == 0 && i < rows->n; i++)
            err = add(s, SQL_EVENT_ADD, &rows->all[i], 1);
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
