/* One connection to PostgreSQL: a statement in, rows out, and waiting for a notification.
 *
 * libpq is loaded when the first connection is made, so that nobody else needs it. What waits, waits
 * on the socket, SQL_PG_LOOK_MS at most between two looks at the flags that stop it. A connection
 * that broke is made anew by the next question, and is known by another number. [one thread] */
#ifndef SLUICE_EDGE_SQL_PG_H
#define SLUICE_EDGE_SQL_PG_H

#include "edge/sql_file.h"

struct sql_pg {
    char *url;
    struct sql_limits limits;
    void *connection; /* NULL: none */
    int64_t end_ms;
    const atomic_bool *stop[2]; /* as those of a sql_file */
};

void sql_pg_init(struct sql_pg *f, const char *url, const struct sql_limits *limits);
void sql_pg_deinit(struct sql_pg *f);

/* As sql_file_run; all values are texts. An empty statement waits for a notification, as many
 * milliseconds as its one value says: a row when there was one, else none. Only a statement makes a
 * connection. E_CONNECT: there is none, E_UPSTREAM: it broke; E_INVAL: the server refuses the
 * statement. */
void sql_pg_run(struct sql_pg *f, const struct sql_question *q, int64_t asked_ms,
                struct sql_answer *a);

#endif
