/* Talking to PostgreSQL by libpq; see sql_pg.h. */
#include "edge/sql_pg.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/status.h"

#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- libpq ---------------------------------------------------------------------------- */

enum { POLL_FAILED, POLL_READING, POLL_WRITING, POLL_OK }; /* PostgresPollingStatusType */
enum { RESULT_COMMAND_OK = 1, RESULT_TUPLES_OK = 2 };      /* ExecStatusType */
enum { CONNECTION_OK };                                    /* ConnStatusType */

static struct {
    void *(*connect)(const char *url);
    int (*connect_poll)(void *), (*status)(const void *), (*socket)(const void *);
    char *(*error)(const void *);
    void (*finish)(void *);
    int (*send)(void *, const char *, int, const unsigned *, const char *const *,
                const int *, const int *, int);
    int (*set_nonblocking)(void *, int), (*flush)(void *), (*consume)(void *),
        (*is_busy)(void *);
    void *(*result)(void *), *(*notified)(void *);
    int (*result_status)(const void *), (*rows)(const void *), (*columns)(const void *);
    char *(*name)(const void *, int), *(*value)(const void *, int, int);
    int (*length)(const void *, int, int), (*is_null)(const void *, int, int);
    char *(*result_error)(const void *);
    void (*clear)(void *), (*free)(void *);
    bool is_there;
} pq;

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) {
    void *library = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
    const struct {
        const char *name;
        void *to;
    } list[] = {{"PQconnectStart", &pq.connect},
                {"PQconnectPoll", &pq.connect_poll},
                {"PQstatus", &pq.status},
                {"PQsocket", &pq.socket},
                {"PQerrorMessage", &pq.error},
                {"PQfinish", &pq.finish},
                {"PQsendQueryParams", &pq.send},
                {"PQsetnonblocking", &pq.set_nonblocking},
                {"PQflush", &pq.flush},
                {"PQconsumeInput", &pq.consume},
                {"PQisBusy", &pq.is_busy},
                {"PQgetResult", &pq.result},
                {"PQnotifies", &pq.notified},
                {"PQresultStatus", &pq.result_status},
                {"PQntuples", &pq.rows},
                {"PQnfields", &pq.columns},
                {"PQfname", &pq.name},
                {"PQgetvalue", &pq.value},
                {"PQgetlength", &pq.length},
                {"PQgetisnull", &pq.is_null},
                {"PQresultErrorMessage", &pq.result_error},
                {"PQclear", &pq.clear},
                {"PQfreemem", &pq.free}};
    if (!library) return;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        void *symbol = dlsym(library, list[i].name);
        if (!symbol) return;
        memcpy(list[i].to, &symbol, sizeof symbol);
    }
    pq.is_there = true;
}

/* ---- Failures ------------------------------------------------------------------------- */

static void shut(struct sql_pg *f) {
    if (f->connection) pq.finish(f->connection);
    f->connection = NULL;
}

/* Without a line's end. */
static int fail(struct sql_answer *a, int err, const char *why) {
    snprintf(a->why, sizeof a->why, "%s", why);
    for (size_t n = strlen(a->why); n > 0 && a->why[n - 1] == '\n'; n--)
        a->why[n - 1] = 0;
    a->err = err;
    return err;
}

static int fail_here(struct sql_pg *f, struct sql_answer *a, int err) {
    fail(a, err, pq.error(f->connection));
    shut(f);
    return err;
}

/* ---- Waiting -------------------------------------------------------------------------- */

static bool is_stopped(const struct sql_pg *f) {
    for (int i = 0; i < 2; i++)
        if (f->stop[i] && atomic_load(f->stop[i])) return true;
    return false;
}

/* Until the socket can be read, or written; at most until 'till'. 0, E_TIMEOUT or E_CLOSED. */
static int wait_for(struct sql_pg *f, short events, int64_t till) {
    for (;;) {
        struct pollfd p = {.fd = pq.socket(f->connection), .events = events};
        int64_t left = till - sql_now_ms();
        if (is_stopped(f)) return E_CLOSED;
        if (left <= 0) return E_TIMEOUT;
        if (poll(&p, 1, left < SQL_PG_LOOK_MS ? (int)left : SQL_PG_LOOK_MS) > 0) return 0;
    }
}

/* It cannot be used any more: nobody knows what the server is about to say. */
static int give_up(struct sql_pg *f, struct sql_answer *a, int err) {
    shut(f);
    return fail(a, err,
                err == E_TIMEOUT ? "PostgreSQL gave no answer in time" : "closed");
}

static int be_connected(struct sql_pg *f, struct sql_answer *a) {
    if (f->connection) return 0;
    pthread_once(&once, load);
    if (!pq.is_there)
        return fail(a, E_CONNECT,
                    "there is no libpq.so.5 on this machine: apt-get install libpq5");
    f->connection = pq.connect(f->url);
    if (!f->connection) return fail(a, E_NOMEM, "out of memory");
    for (int state = POLL_WRITING; state != POLL_OK;
         state = pq.connect_poll(f->connection)) {
        if (state == POLL_FAILED) return fail_here(f, a, E_CONNECT);
        if (pq.socket(f->connection) < 0) return fail_here(f, a, E_CONNECT);
        short events = state == POLL_READING ? POLLIN : POLLOUT;
        int err = wait_for(f, events, f->end_ms);
        if (err < 0) return give_up(f, a, err);
    }
    pq.set_nonblocking(f->connection, 1);
    return 0;
}

/* ---- A statement ---------------------------------------------------------------------- */

static int send_all(struct sql_pg *f, struct sql_answer *a) {
    int left;
    while ((left = pq.flush(f->connection)) > 0) {
        int err = wait_for(f, POLLIN | POLLOUT, f->end_ms);
        if (err < 0) return give_up(f, a, err);
        if (!pq.consume(f->connection)) return fail_here(f, a, E_UPSTREAM);
    }
    return left < 0 ? fail_here(f, a, E_UPSTREAM) : 0;
}

static int put_text(struct sql_answer *a, const char *p, size_t n) {
    uint64_t length = n;
    return sql_put(&a->bytes, SQL_TYPE_TEXT, &length, slice_of(p, n));
}

static int put_result(struct sql_answer *a, const void *r) {
    int64_t zero = 0;
    int err = 0, columns = pq.columns(r), rows = pq.rows(r);
    for (int i = 0; i < columns && err == 0; i++)
        err = put_text(a, pq.name(r, i), strlen(pq.name(r, i)));
    for (int row = 0; row < rows; row++) {
        for (int i = 0; i < columns && err == 0; i++) {
            if (pq.is_null(r, row, i))
                err = sql_put(&a->bytes, SQL_TYPE_NULL, &zero, slice_of("", 0));
            else err = put_text(a, pq.value(r, row, i), (size_t)pq.length(r, row, i));
        }
    }
    a->n_columns = (uint32_t)columns;
    a->n_rows = (uint32_t)rows;
    return err < 0 ? fail(a, err, status_text(err)) : 0;
}

/* All results of what was sent; the first one counts. */
static int take_results(struct sql_pg *f, struct sql_answer *a) {
    bool first = true;
    for (;;) {
        while (pq.is_busy(f->connection)) {
            int err = wait_for(f, POLLIN, f->end_ms);
            if (err < 0) return give_up(f, a, err);
            if (!pq.consume(f->connection)) return fail_here(f, a, E_UPSTREAM);
        }
        void *r = pq.result(f->connection);
        if (!r) break;
        int status = pq.result_status(r);
        if (first && status == RESULT_TUPLES_OK) put_result(a, r);
        else if (first && status != RESULT_COMMAND_OK)
            fail(a, E_INVAL, pq.result_error(r));
        pq.clear(r);
        first = false;
    }
    if (pq.status(f->connection) != CONNECTION_OK) return fail_here(f, a, E_UPSTREAM);
    return a->err;
}

static int ask(struct sql_pg *f, const struct sql_question *q, struct sql_answer *a) {
    const char *values[SQL_PG_VALUES_MAX];
    if (q->n_values > SQL_PG_VALUES_MAX || q->by_name)
        return fail(a, E_INVAL, "at most 8 values, by position");
    for (uint32_t i = 0; i < q->n_values; i++)
        values[i] = q->values[i].type == SQL_TYPE_TEXT ? q->values[i].text.p : NULL;
    if (!pq.send(f->connection, q->text.p, (int)q->n_values, NULL, values, NULL, NULL, 0))
        return fail_here(f, a, E_UPSTREAM);
    int err = send_all(f, a);
    return err < 0 ? err : take_results(f, a);
}

/* ---- A notification ------------------------------------------------------------------- */

static bool take_notifications(struct sql_pg *f) {
    bool any = false;
    for (void *n; (n = pq.notified(f->connection)); pq.free(n)) any = true;
    return any;
}

static int await(struct sql_pg *f, const struct sql_question *q, struct sql_answer *a) {
    int64_t till = sql_now_ms() + (q->n_values > 0 ? q->values[0].integer : 0);
    if (!f->connection) return fail(a, E_CONNECT, "the connection is gone");
    while (!take_notifications(f)) {
        int err = wait_for(f, POLLIN, till);
        if (err == E_TIMEOUT) return 0;
        if (err < 0) return give_up(f, a, err);
        if (!pq.consume(f->connection)) return fail_here(f, a, E_UPSTREAM);
    }
    a->n_rows = 1;
    return 0;
}

/* ---- The whole ------------------------------------------------------------------------ */

void sql_pg_init(struct sql_pg *f, const char *url, const struct sql_limits *limits) {
    *f = (struct sql_pg){.url = mem_strndup(url, strlen(url)), .limits = *limits};
}

void sql_pg_deinit(struct sql_pg *f) {
    shut(f);
    mem_free(f->url);
    f->url = NULL;
}

void sql_pg_run(struct sql_pg *f, const struct sql_question *q, int64_t asked_ms,
                struct sql_answer *a) {
    f->end_ms = asked_ms + f->limits.timeout_ms;
    int err;
    if (q->text.n == 0) err = await(f, q, a);
    else err = be_connected(f, a);
    if (err == 0 && q->text.n > 0) err = ask(f, q, a);
    if (err < 0) {
        buf_free(&a->bytes);
        a->n_rows = a->n_columns = 0;
    }
}
