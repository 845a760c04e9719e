/* One SQLite file of another program, opened to be read: a statement in, rows out.
 *
 * An authorizer lets through what only reads. Nothing is held between two statements, so the
 * file's own program is never kept waiting, and its log can be shortened. The file is opened
 * when it is first asked, and again when another one has taken its name. [one thread] */
#ifndef SLUICE_EDGE_SQL_FILE_H
#define SLUICE_EDGE_SQL_FILE_H

#include "base/buf.h"
#include "base/slice.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct sql_limits {
    uint32_t rows_max;
    uint64_t bytes_max;          /* of names and values of one answer */
    int64_t timeout_ms, busy_ms; /* for an answer; for a program that has it locked */
};

enum sql_type { SQL_TYPE_NULL, SQL_TYPE_INTEGER, SQL_TYPE_FLOAT, SQL_TYPE_TEXT };

/* A parameter. */
struct sql_value {
    enum sql_type type;
    struct slice name; /* without its sign; empty: by position */
    int64_t integer;
    double number;
    struct slice text;
};

struct sql_question {
    struct slice text;
    const struct sql_value *values;
    uint32_t n_values;
    bool by_name;
};

/* Values as sql_next reads them. err 0, or
 *   E_INVAL     the statement or its values are wrong
 *   E_DENIED    it would not only read
 *   E_CONNECT   the file cannot be opened, E_UPSTREAM: cannot be read, or is damaged
 *   E_BUSY      another program has it locked
 *   E_TOOBIG, E_TIMEOUT, E_CLOSED (it was stopped), E_NOMEM
 * and a sentence. */
struct sql_answer {
    int err;
    uint32_t n_columns, n_rows;
    struct buf bytes; /* owned: names of columns, then rows */
    char why[512];
};

struct sql_file {
    char *path;
    struct sql_limits limits;
    sqlite3 *db; /* NULL: not open */
    dev_t dev;
    ino_t ino;
    char denied[64];            /* what the authorizer refused */
    int64_t begin_ms, end_ms;   /* of the statement that runs; the machine's own clock */
    const atomic_bool *stop[2]; /* one of them set: end it. May be NULL */
};

void sql_file_init(struct sql_file *f, const char *path, const struct sql_limits *limits);
void sql_file_deinit(struct sql_file *f);

/* 'asked_ms': when it was asked for (sql_now_ms). Fills 'a', which was empty. */
void sql_file_run(struct sql_file *f, const struct sql_question *q, int64_t asked_ms,
                  struct sql_answer *a);

int64_t sql_now_ms(void); /* does not stand still in a test */

/* Add a value as sql_next reads it. 0, or E_NOMEM. */
int sql_put(struct buf *b, enum sql_type type, const void *eight, struct slice text);

/* The next value from *at on, which moves. */
void sql_next(const struct sql_answer *a, size_t *at, struct sql_value *out);

void sql_answer_free(struct sql_answer *a);

#endif
