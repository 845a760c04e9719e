/* What the files of the adapter share. */
#ifndef SLUICE_SERVE_APP_DURABLE_INNER_H
#define SLUICE_SERVE_APP_DURABLE_INNER_H

#include "base/map.h"
#include "fan/history.h"
#include "serve/app/durable.h"

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
    uint64_t tickets;            /* the last one */
    struct list late;            /* struct durable_op: to be answered with ETIMEOUT */
    struct policy_set *policies; /* [store thread] as of the last release */
    struct map floors;           /* [store thread] of patterns: struct pattern_floor */
    struct lane_history histories[IO_THREADS_MAX];
};

/* What the store keeps of a channel with this policy. [any thread] */
void durable_policy(const struct policy *p, struct store_policy *out);

/* The floor of channels that have no row, by their pattern. [store thread] */
uint64_t durable_floor(const struct durable *d, struct slice pattern);

/* A stored row, to be made a frame of; 'boot_ms' is wall clock minus monotonic, now.
 * Borrows the slices. [any thread] */
struct frame_row durable_row(struct slice channel, const struct store_row *r,
                             int64_t boot_ms);
int64_t durable_boot_ms(void);

/* What the fan of an I/O thread asks for pages. */
const struct fan_history *durable_history(struct durable *d, struct lane *lane);

/* Take the numbers of this run, with the app's policies. As of store_begin. */
int durable_begin(struct durable *d, const struct policy_set *set,
                  struct store_start *start, const char **why);

/* Let the app's replica have what is stored. */
void durable_load(struct server *s, struct durable *d, const struct store_start *start);

void durable_forget(struct durable *d); /* takes; its store is closed */

#endif
