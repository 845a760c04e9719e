/* Other programs' SQLite files, and connections to PostgreSQL ("files" below), read without a
 * wait of the loop: each open file has a thread
 * of its own, which carries out what it is asked in order.
 *
 *      app thread   sql_ask ─▶ queue ─▶ (thread of the file: sql_file_run)
 *                   on_answer ◀──────── mailbox of the loop ◀──┘
 *
 * Without threads (rehearsals) a question is carried out where it is asked, and its answer
 * comes with the mailbox. A thread that hangs in the disk is left behind at the end: it frees
 * what it has when it comes back.
 *
 * Bounds: SQL_OPEN_MAX files, SQL_QUEUE_MAX questions of one, and the limits of the file.
 * [owner of the loop] */
#ifndef SLUICE_EDGE_SQL_H
#define SLUICE_EDGE_SQL_H

#include "edge/sql_file.h"
#include "edge/sql_pg.h"
#include "run/loop.h"

struct sql;

/* Once for each ticket that was not cancelled. Borrowed. */
typedef void sql_on_answer(void *context, uint64_t ticket, const struct sql_answer *a);

/* Borrows the loop. */
struct sql *sql_new(struct loop *loop, bool threads, sql_on_answer *on_answer,
                    void *context);

/* Takes; nothing is reported any more. Waits SQL_END_MS for threads at most. The mailbox is
 * drained after it. NULL: fine. */
void sql_free(struct sql *s);

/* A file, or with 'is_pg' a connection to the PostgreSQL of a URL, which is looked at when it is
 * first asked (copies). 0, E_FULL or a negative errno. */
int sql_open(struct sql *s, bool is_pg, const char *path, const struct sql_limits *limits,
             uint64_t *id);

/* What it still owes is answered with E_CLOSED, what runs is stopped. Unknown ids do no harm. */
void sql_close(struct sql *s, uint64_t id);

/* Ask (copies). 0, E_CLOSED (no such file), E_FULL, E_NOMEM. */
int sql_ask(struct sql *s, uint64_t id, const struct sql_question *what,
            uint64_t *ticket);
void sql_cancel(struct sql *s,
                uint64_t ticket); /* not reported any more; what runs is stopped */

#endif
