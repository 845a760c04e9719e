/* What the files of the adapter share. */
#ifndef SLUICE_SERVE_APP_DURABLE_INNER_H
#define SLUICE_SERVE_APP_DURABLE_INNER_H

#include "base/map.h"
#include "base/buf.h"
#include "fan/history.h"
#include "serve/app/durable.h"
#include "serve/app/tickets.h"

/* How one I/O thread gets at pages. */
struct lane_history {
    struct fan_history history;
    struct durable *durable;
    struct lane *lane;
};

struct durable {
    struct hub *hub;
    struct store *store; /* NULL: closed */
    bool has_threads, is_running;
    struct ev_timer tick;
    uint64_t submitted; /* how many operations */
    struct tickets tickets;
    struct list late;            /* struct durable_op: to be answered with ETIMEOUT */
    struct policy_set *policies; /* [store thread] as of the last release */
    struct map floors;           /* [store thread] of patterns: struct pattern_floor */
    struct lane_history histories[IO_THREADS_MAX];
    /* Policies that publishes go by beside the current ones: those to come, or after the
     * switch the ones before, until all that was queued by them is answered. NULL: none */
    struct policy_set *other;
    bool converting;   /* 'other' is to come */
    bool stale;        /* the store has not got the current limits */
    int64_t limits_us; /* ... and gets them not before, when that has failed */
    uint64_t drained;  /* the last operation that was queued by 'other' */
};

/* What a conversion is made of, and what comes with it; see durable_convert.c. */
struct change {
    bool is_awaited; /* else only limits differ: nothing but the store hears of it */
    struct routes *routes;
    struct policy_set *policies, *before;
    bool news;
    struct store_change *changes;
    struct store_live *lives;
    struct frame **held; /* of the lives: names and keys are theirs */
    uint32_t n_changes, n_lives;
    struct buf text; /* their data, and the names of channels */
};

/* An operation with what its slices point to. The store's until done, then the app's. */
struct durable_op {
    struct store_op op;
    struct message message; /* it is done */
    struct list late;       /* in durable.late, until it is answered */
    struct frame *frame;    /* of an event; NULL */
    struct change *change;  /* of a conversion; NULL */
    uint64_t number;        /* in the order of submission, from 1 */
    uint64_t ticket;
    char bytes[];
};

struct durable_op *durable_new_op(enum store_op_kind kind, size_t bytes); /* NULL */
void durable_free_op(struct durable_op *op);
/* Takes the op, also when it is refused. */
int durable_submit(struct server *s, struct durable_op *op, uint64_t *ticket);

/* A conversion is in the file: give it to all replicas. [store thread] */
void durable_release_change(struct durable *d, struct change *c);
/* It is done, or has failed; and an operation has its answer. */
void durable_end_change(struct server *s, struct durable_op *op, int err);
void durable_note_done(struct server *s, const struct durable_op *op);
void durable_free_change(struct change *c); /* takes; NULL is fine */

/* What the store keeps of a channel with this policy. [any thread] */
void durable_policy(const struct policy *p, struct store_policy *out);

/* The floor of channels that have no row, by their pattern. [store thread] */
uint64_t durable_floor(const struct durable *d, struct slice pattern);

/* A stored row, to be made a frame of; 'boot_ms' is wall clock minus monotonic, now.
 * Borrows the slices. [any thread] */
struct frame_row durable_row(struct slice channel, const struct store_row *r,
                             int64_t boot_ms);
int64_t durable_boot_ms(void);

/* What the fan of an I/O thread asks for pages: made once, before that thread knows it. */
const struct fan_history *durable_history(struct durable *d, struct lane *lane);

/* The floor of channels that have no row, from now on. [store thread] */
void durable_keep_floor(struct durable *d, struct slice pattern, uint64_t floor);
map_key_fn durable_floor_key;

/* What the store is to keep of each name, by a policy set. */
store_judge_fn durable_judge;

/* Take the numbers of this run, with the app's policies. As of store_begin. */
int durable_begin(struct durable *d, const struct policy_set *set,
                  struct store_start *start, const char **why);

/* Let the app's replica have what is stored. */
void durable_load(struct server *s, struct durable *d, const struct store_start *start);

void durable_forget(struct durable *d); /* takes; its store is closed */

#endif
