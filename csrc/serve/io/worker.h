/* A worker: one I/O thread with its listener, its connections and its fan.
 *
 * Each turn of its loop: messages of the mailbox (frames, commands, replies), sockets,
 * timers; then, before it sleeps, one flush of the fan, so that everything that arrived
 * in the turn leaves in one send() per stream. No Lua here. */
#ifndef SLUICE_SERVE_IO_WORKER_H
#define SLUICE_SERVE_IO_WORKER_H

#include "base/bounds.h"
#include "base/pool.h"
#include "fan/fan.h"
#include "net/http_write.h"
#include "run/loop.h"
#include "run/wheel.h"
#include "serve/io/control.h"
#include "serve/queue.h"
#include "serve/routes.h"

struct report;
struct server;

/* Read by the app thread for statistics; written by the worker only. */
struct worker_counters {
    _Atomic uint64_t requests, accepted, connections, streams;
    _Atomic uint64_t delivered, delivered_bytes, slow;
};

struct worker {
    struct loop loop;
    struct server *server;
    pthread_t thread;
    struct fan fan;
    struct wheel wheel;
    struct accept accept;
    struct control control;
    struct ev_io signals;
    struct ev_prepare before_sleep;
    struct ev_check after_sleep;
    struct ev_idle more;   /* active while a flush is unfinished */
    struct ev_timer tick;  /* turns the wheel */
    struct ev_timer rates; /* the next tick of the fan */
    struct list conns, doomed;
    struct queue queue; /* for the app */
    struct pool conn_pool;
    struct routes *routes;
    struct http_date date;
    int64_t rates_at_ms; /* when the next tick is; INT64_MAX: not armed */
    int64_t now_ms, wall_s;
    size_t turn_bytes; /* of events taken in this turn */
    double events_at;  /* ev_now of the last turn that had some */
    uint64_t random;
    int64_t drain_end_ms;
    struct message finished; /* to the app: no connection is left */
    struct worker_counters counters;
    int64_t reported_ms;
    struct report *report; /* the last one; the app's */
    char *input;           /* what one recv() may bring */
    unsigned index;
    uint32_t n_conns, turn_events, turn_patient;
    int reserve_fd;        /* given up for a moment when descriptors run out */
    atomic_bool reporting; /* the app has not taken the last report yet */
    bool told_lags;        /* by that */
    bool draining;
    bool told, released; /* 'finished' is posted; the app needs this thread no more */
};

#define WORKER_INPUT_BYTES 65536

/* Bind and listen; *port is the port asked for (0: any) and becomes the one bound.
 * Returns 0, E_ADDRESS or a negative errno; nothing is left open on failure. */
int worker_init(struct worker *w, struct server *server, unsigned index, uint16_t *port);
int worker_start(struct worker *w); /* the thread, held by the gate; 0 or -errno */

/* One turn without a thread, in a rehearsal. [app] */
void worker_step(struct worker *w);

/* After the thread ended: free everything. [app] */
void worker_join(struct worker *w);
void worker_deinit(struct worker *w);

/* End all streams over a window (< 0: at once) and stop. 'stuck': the app does not answer,
 * which puts off the end of the process. [any thread] */
void worker_post_drain(struct worker *w, int64_t window_ms, bool stuck);

/* In a drain: when what the app has not begun is given up, so that it can be told. */
static inline int64_t worker_stops_ms(const struct worker *w) {
    return w->drain_end_ms - DRAIN_TELL_MS;
}

/* A retry time for clients that shall come back. */
uint32_t worker_retry(struct worker *w);

#endif
