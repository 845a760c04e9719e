/* The reading side; see read.h for what it does. The connection is opened when it is first
 * used, and closed by the writing side when the file is opened anew. */
#ifndef SLUICE_STORE_READER_H
#define SLUICE_STORE_READER_H

#include "base/map.h"
#include "run/yield.h"
#include "store/db.h"
#include "store/read.h"

#include <pthread.h>

struct reader {
    pthread_mutex_t lock; /* of the queue */
    pthread_cond_t woken;
    struct list queue;
    uint32_t n;
    bool closing, has_thread;
    pthread_t thread;
    int64_t pace_us;    /* without threads: what a request takes */
    struct yield yield; /* its thread's */

    pthread_mutex_t gate; /* of the connection: held for one request */
    struct db db;
    bool is_open, is_shut; /* shut: the file's state is in doubt */
    uint64_t damaged;
    struct map told; /* channels whose damage the log has: one line each, at most */
};

void reader_init(struct reader *r);
void reader_deinit(struct reader *r); /* gives back what waits (E_CLOSED) */
int reader_run(struct store *s);      /* start its thread */
void reader_stop(struct store *s);    /* end it; nothing is taken any more */

/* No reading from here on; or again. [store thread] */
void reader_shut(struct reader *r);
void reader_open(struct reader *r);

/* Without threads. */
bool reader_step(struct store *s, int64_t now_us);
int64_t reader_next(struct store *s);

/* Read one page on any connection, in a transaction of its own. */
int reader_page(struct db *db, struct store_read *r);

#endif
