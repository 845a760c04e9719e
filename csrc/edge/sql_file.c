/* Reading one file with SQLite; see sql_file.h. */
#include "edge/sql_file.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

int64_t sql_now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

__attribute__((format(printf, 3, 4))) static int fail(struct sql_answer *a, int err,
                                                      const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(a->why, sizeof a->why, format, args);
    va_end(args);
    a->err = err;
    return err;
}

/* ---- What may be done ----------------------------------------------------------------- */

/* Pragmas that only tell something, without and with an argument. */
static const char *const plain[] = {"application_id", "collation_list", "compile_options",
                                    "data_version",   "database_list",  "encoding",
                                    "freelist_count", "function_list",  "journal_mode",
                                    "page_count",     "page_size",      "schema_version",
                                    "table_list",     "user_version"};
static const char *const asking[] = {"foreign_key_list", "index_info", "index_list",
                                     "index_xinfo",      "table_info", "table_list",
                                     "table_xinfo"};

/* Functions that load code, or give addresses away. */
static const char *const unsafe[] = {"fts3_tokenizer", "load_extension"};

static bool is_among(const char *name, const char *const *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (sqlite3_stricmp(name, list[i]) == 0) return true;
    return false;
}

static const char *word_of(int action) {
    switch (action) {
    case SQLITE_ATTACH: return "ATTACH";
    case SQLITE_DETACH: return "DETACH";
    case SQLITE_PRAGMA: return "this PRAGMA";
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT: return "a transaction";
    case SQLITE_FUNCTION: return "this function";
    default: return "a statement that writes";
    }
}

/* NOLINTNEXTLINE(readability-function-size): SQLite calls it so */
static int authorize(void *arg, int action, const char *one, const char *two,
                     const char *base, const char *trigger) {
    struct sql_file *f = arg;
    (void)base, (void)trigger;
    if (action == SQLITE_SELECT || action == SQLITE_READ || action == SQLITE_RECURSIVE)
        return SQLITE_OK;
    if (action == SQLITE_FUNCTION &&
        !is_among(two, unsafe, sizeof unsafe / sizeof *unsafe))
        return SQLITE_OK;
    if (action == SQLITE_PRAGMA &&
        (two ? is_among(one, asking, sizeof asking / sizeof *asking)
             : is_among(one, plain, sizeof plain / sizeof *plain)))
        return SQLITE_OK;
    /* Asked for a table-valued function; nobody can change that table. */
    if (action == SQLITE_UPDATE && strcmp(one, "sqlite_master") == 0) return SQLITE_OK;
    if (!f->denied[0]) snprintf(f->denied, sizeof f->denied, "%s", word_of(action));
    return SQLITE_DENY;
}

static bool is_stopped(const struct sql_file *f) {
    for (int i = 0; i < 2; i++)
        if (f->stop[i] && atomic_load_explicit(f->stop[i], memory_order_relaxed))
            return true;
    return false;
}

static int on_steps(void *arg) {
    const struct sql_file *f = arg;
    return is_stopped(f) || sql_now_ms() >= f->end_ms;
}

/* Another program has it locked: look again every few milliseconds. */
static int on_busy(void *arg, int times) {
    const struct sql_file *f = arg;
    int64_t now = sql_now_ms();
    (void)times;
    if (is_stopped(f) || now >= f->end_ms || now - f->begin_ms >= f->limits.busy_ms)
        return 0;
    sqlite3_sleep(SQL_BUSY_LOOK_MS);
    return 1;
}

/* ---- Errors --------------------------------------------------------------------------- */

static int ran_out(struct sql_file *f, struct sql_answer *a) {
    if (is_stopped(f)) return fail(a, E_CLOSED, "closed");
    return fail(a, E_TIMEOUT, "'%s' gave no answer within %g s", f->path,
                (double)f->limits.timeout_ms / 1000);
}

static int too_big(struct sql_file *f, struct sql_answer *a) {
    return fail(a, E_TOOBIG,
                "the answer has more than %llu bytes: select less, or open '%s' "
                "with more max_bytes",
                (unsigned long long)f->limits.bytes_max, f->path);
}

static int cannot_open(struct sql_file *f, struct sql_answer *a, int rc) {
    if (rc == SQLITE_READONLY_ROLLBACK || rc == SQLITE_READONLY_RECOVERY)
        return fail(a, E_CONNECT,
                    "'%s' was left in the middle of a change: its own program must "
                    "open it once",
                    f->path);
    if ((rc & 0xff) == SQLITE_READONLY)
        return fail(a, E_CONNECT,
                    "'%s' is in WAL mode and its folder cannot be written: readers "
                    "need a file beside it",
                    f->path);
    return fail(a, E_CONNECT, "'%s' cannot be opened: %s", f->path,
                sqlite3_errmsg(f->db));
}

static int explain(struct sql_file *f, struct sql_answer *a, int rc) {
    const char *says = sqlite3_errmsg(f->db);
    if (f->denied[0]) rc = SQLITE_AUTH;
    switch (rc & 0xff) {
    case SQLITE_AUTH:
        return fail(a, E_DENIED, "only reading is possible here: %s is refused",
                    f->denied);
    case SQLITE_INTERRUPT: return ran_out(f, a);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        if (is_stopped(f) || sql_now_ms() >= f->end_ms) return ran_out(f, a);
        return fail(a, E_BUSY, "another program has '%s' locked", f->path);
    case SQLITE_TOOBIG: return too_big(f, a);
    case SQLITE_NOMEM: return fail(a, E_NOMEM, "%s", status_text(E_NOMEM));
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY: return cannot_open(f, a, rc);
    case SQLITE_NOTADB: return fail(a, E_UPSTREAM, "'%s' is no SQLite database", f->path);
    case SQLITE_CORRUPT: return fail(a, E_UPSTREAM, "'%s' is damaged: %s", f->path, says);
    case SQLITE_ERROR:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE: return fail(a, E_INVAL, "SQL: %s", says);
    default: return fail(a, E_UPSTREAM, "'%s' cannot be read: %s", f->path, says);
    }
}

/* ---- Open ----------------------------------------------------------------------------- */

static void shut(struct sql_file *f) {
    sqlite3_close(f->db);
    f->db = NULL;
}

static int set_up(struct sql_file *f) {
    int bytes =
        f->limits.bytes_max < SQL_VALUE_MAX ? (int)f->limits.bytes_max : SQL_VALUE_MAX;
    sqlite3_extended_result_codes(f->db, 1);
    sqlite3_db_config(f->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(f->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(f->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_limit(f->db, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_limit(f->db, SQLITE_LIMIT_LENGTH,
                  bytes < SQL_VALUE_LEAST ? SQL_VALUE_LEAST : bytes);
    sqlite3_busy_handler(f->db, on_busy, f);
    sqlite3_progress_handler(f->db, SQL_STEPS, on_steps, f);
    int rc = sqlite3_exec(f->db, "PRAGMA query_only = ON; PRAGMA cell_size_check = ON;",
                          NULL, NULL, NULL);
    sqlite3_set_authorizer(f->db, authorize, f);
    return rc;
}

/* The file of that name now, open. */
static int be_open(struct sql_file *f, struct sql_answer *a) {
    struct stat st;
    if (stat(f->path, &st) < 0) {
        int err = -errno;
        shut(f);
        return fail(a, E_CONNECT, "'%s' cannot be opened: %s", f->path, status_text(err));
    }
    if (!S_ISREG(st.st_mode)) {
        shut(f);
        return fail(a, E_CONNECT, "'%s' is no file", f->path);
    }
    if (f->db && st.st_dev == f->dev && st.st_ino == f->ino) return 0;
    shut(f);
    f->dev = st.st_dev;
    f->ino = st.st_ino;
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    int rc = sqlite3_open_v2(f->path, &f->db, flags, NULL);
    if (rc == SQLITE_OK) rc = set_up(f);
    if (rc == SQLITE_OK) return 0;
    explain(f, a, rc);
    shut(f);
    return a->err;
}

/* ---- Statement ------------------------------------------------------------------------ */

/* One statement, and nothing but comments and blanks behind it. */
static int prepare(struct sql_file *f, const struct sql_question *q, sqlite3_stmt **out,
                   struct sql_answer *a) {
    const char *tail = NULL;
    sqlite3_stmt *more = NULL;
    if (q->text.n > SQL_TEXT_MAX)
        return fail(a, E_INVAL, "SQL: the statement has more than %d bytes",
                    SQL_TEXT_MAX);
    if (memchr(q->text.p, 0, q->text.n))
        return fail(a, E_INVAL, "SQL: it has a NUL byte");
    int rc = sqlite3_prepare_v2(f->db, q->text.p, (int)q->text.n, out, &tail);
    if (rc != SQLITE_OK) return explain(f, a, rc);
    if (!*out) return fail(a, E_INVAL, "SQL: there is no statement");
    size_t left = q->text.n - (size_t)(tail - q->text.p);
    rc = sqlite3_prepare_v2(f->db, tail, (int)left, &more, NULL);
    bool several = rc != SQLITE_OK || more;
    sqlite3_finalize(more);
    if (several) return fail(a, E_INVAL, "SQL: one statement at a time");
    if (!sqlite3_stmt_readonly(*out))
        return fail(a, E_DENIED,
                    "only reading is possible here: a statement that writes is "
                    "refused");
    return 0;
}

static const struct sql_value *value_of(const struct sql_question *q, const char *name) {
    for (uint32_t i = 0; i < q->n_values; i++)
        if (slice_eq(q->values[i].name, slice_str(name))) return &q->values[i];
    return NULL;
}

static int bind_one(sqlite3_stmt *stmt, int i, const struct sql_value *v) {
    switch (v->type) {
    case SQL_TYPE_INTEGER: return sqlite3_bind_int64(stmt, i, v->integer);
    case SQL_TYPE_FLOAT: return sqlite3_bind_double(stmt, i, v->number);
    case SQL_TYPE_TEXT:
        return sqlite3_bind_text64(stmt, i, v->text.p, v->text.n, SQLITE_STATIC,
                                   SQLITE_UTF8);
    default: return sqlite3_bind_null(stmt, i);
    }
}

static int bind_named(struct sql_file *f, const struct sql_question *q,
                      sqlite3_stmt *stmt, struct sql_answer *a) {
    uint32_t used = 0;
    int n = sqlite3_bind_parameter_count(stmt), rc = SQLITE_OK;
    for (int i = 1; rc == SQLITE_OK && i <= n; i++) {
        const char *name = sqlite3_bind_parameter_name(stmt, i);
        const struct sql_value *v = name ? value_of(q, name + 1) : NULL;
        if (!name)
            return fail(a, E_INVAL, "SQL: a table of values needs names: :id, not ?");
        if (!v) return fail(a, E_INVAL, "SQL: there is no value for %s", name);
        rc = bind_one(stmt, i, v);
        used++;
    }
    if (rc != SQLITE_OK) return explain(f, a, rc);
    if (used < q->n_values)
        return fail(a, E_INVAL,
                    "SQL: %u values are given, and the statement has %u names",
                    q->n_values, used);
    return 0;
}

static int bind_all(struct sql_file *f, const struct sql_question *q, sqlite3_stmt *stmt,
                    struct sql_answer *a) {
    int n = sqlite3_bind_parameter_count(stmt), rc = SQLITE_OK;
    if (q->by_name) return bind_named(f, q, stmt, a);
    if ((uint32_t)n != q->n_values)
        return fail(a, E_INVAL,
                    "SQL: %u values are given, and the statement has %d places",
                    q->n_values, n);
    for (int i = 1; rc == SQLITE_OK && i <= n; i++)
        rc = bind_one(stmt, i, &q->values[i - 1]);
    return rc == SQLITE_OK ? 0 : explain(f, a, rc);
}

/* ---- Rows ----------------------------------------------------------------------------- */

/* A value is its type and eight bytes: the integer, the float, or how long its text is. */
int sql_put(struct buf *b, enum sql_type type, const void *eight, struct slice text) {
    char head[9] = {(char)type};
    memcpy(head + 1, eight, 8);
    int err = buf_add(b, head, sizeof head);
    return err < 0 ? err : buf_add(b, text.p, text.n);
}

static int put_text(struct buf *b, const char *p, size_t n) {
    uint64_t length = n;
    return sql_put(b, SQL_TYPE_TEXT, &length, slice_of(p ? p : "", n));
}

static int put_value(struct buf *b, sqlite3_stmt *stmt, int i) {
    int64_t integer = 0;
    double number;
    switch (sqlite3_column_type(stmt, i)) {
    case SQLITE_INTEGER:
        integer = sqlite3_column_int64(stmt, i);
        return sql_put(b, SQL_TYPE_INTEGER, &integer, slice_of("", 0));
    case SQLITE_FLOAT:
        number = sqlite3_column_double(stmt, i);
        return sql_put(b, SQL_TYPE_FLOAT, &number, slice_of("", 0));
    case SQLITE_NULL: return sql_put(b, SQL_TYPE_NULL, &integer, slice_of("", 0));
    default: {
        const char *p = sqlite3_column_blob(stmt, i); /* text as it is, and blobs */
        return put_text(b, p, (size_t)sqlite3_column_bytes(stmt, i));
    }
    }
}

static int put_names(struct sql_answer *a, sqlite3_stmt *stmt) {
    int err = 0, n = sqlite3_column_count(stmt);
    for (int i = 0; err == 0 && i < n; i++) {
        const char *name = sqlite3_column_name(stmt, i);
        if (!name) return fail(a, E_NOMEM, "%s", status_text(E_NOMEM));
        for (int k = 0; k < i; k++)
            if (strcmp(sqlite3_column_name(stmt, k), name) == 0)
                return fail(a, E_INVAL,
                            "SQL: two columns are called '%s': name one with AS", name);
        err = put_text(&a->bytes, name, strlen(name));
    }
    a->n_columns = (uint32_t)n;
    return err < 0 ? fail(a, err, "%s", status_text(err)) : 0;
}

static int put_row(struct sql_file *f, struct sql_answer *a, sqlite3_stmt *stmt) {
    int err = 0;
    if (a->n_rows == f->limits.rows_max)
        return fail(a, E_TOOBIG,
                    "the answer has more than %u rows: select less, or open '%s' "
                    "with more max_rows",
                    f->limits.rows_max, f->path);
    for (uint32_t i = 0; err == 0 && i < a->n_columns; i++)
        err = put_value(&a->bytes, stmt, (int)i);
    a->n_rows++;
    if (err < 0) return fail(a, err, "%s", status_text(err));
    return a->bytes.n > f->limits.bytes_max ? too_big(f, a) : 0;
}

/* Names are read after the first step: a schema that has changed is looked at again there. */
static int read_rows(struct sql_file *f, struct sql_answer *a, sqlite3_stmt *stmt) {
    int rc = sqlite3_step(stmt);
    int err = rc == SQLITE_ROW || rc == SQLITE_DONE ? put_names(a, stmt) : 0;
    for (; err == 0 && rc == SQLITE_ROW; rc = sqlite3_step(stmt)) {
        err = put_row(f, a, stmt);
        if (err == 0 && on_steps(f)) return ran_out(f, a);
    }
    if (err < 0) return err;
    return rc == SQLITE_DONE ? 0 : explain(f, a, rc);
}

/* ---- The whole ------------------------------------------------------------------------ */

void sql_file_init(struct sql_file *f, const char *path,
                   const struct sql_limits *limits) {
    *f = (struct sql_file){.path = mem_strndup(path, strlen(path)), .limits = *limits};
}

void sql_file_deinit(struct sql_file *f) {
    shut(f);
    mem_free(f->path);
    f->path = NULL;
}

void sql_file_run(struct sql_file *f, const struct sql_question *q, int64_t asked_ms,
                  struct sql_answer *a) {
    sqlite3_stmt *stmt = NULL;
    f->begin_ms = sql_now_ms();
    f->end_ms = asked_ms + f->limits.timeout_ms;
    f->denied[0] = 0;
    int err = on_steps(f) ? ran_out(f, a) : be_open(f, a);
    if (err == 0) err = prepare(f, q, &stmt, a);
    if (err == 0) err = bind_all(f, q, stmt, a);
    if (err == 0) err = read_rows(f, a, stmt);
    sqlite3_finalize(stmt);
    if (err == E_UPSTREAM || err == E_CONNECT) shut(f); /* look at it anew */
    if (err < 0) {
        buf_free(&a->bytes);
        a->n_rows = a->n_columns = 0;
    }
}

void sql_next(const struct sql_answer *a, size_t *at, struct sql_value *out) {
    const char *p = a->bytes.p + *at;
    uint64_t length = 0;
    *out = (struct sql_value){.type = (enum sql_type)p[0]};
    if (out->type == SQL_TYPE_INTEGER) memcpy(&out->integer, p + 1, 8);
    else if (out->type == SQL_TYPE_FLOAT) memcpy(&out->number, p + 1, 8);
    else if (out->type == SQL_TYPE_TEXT) memcpy(&length, p + 1, 8);
    out->text = slice_of(p + 9, (size_t)length);
    *at += 9 + (size_t)length;
}

void sql_answer_free(struct sql_answer *a) {
    buf_free(&a->bytes);
}
