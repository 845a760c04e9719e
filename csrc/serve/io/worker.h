/* A worker: one I/O thread with its listener, its connections and its fan.
 *
 * Each turn of its loop: messages of the mailbox (frames, commands, replies), sockets,
 * timers; then, before it sleeps, one flush of the fan, so that everything that arrived
 * in the turn leaves in one send() per stream. No Lua here. */
#ifndef SLUICE_SERVE_IO_WORKER_H
#define SLUICE_SERVE_IO_WORKER_H

#include "base/bounds.h"
#include "base/map.h"
#include "base/pool.h"
#include "fan/fan.h"
#include "net/http_write.h"
#include "net/sock.h"
#include "run/loop.h"
#include "run/wheel.h"
#include "run/yield.h"
#include "serve/hub.h"
#include "serve/io/control.h"
#include "serve/io/flight.h"
#include "serve/io/follow.h"
#include "serve/io/handshake.h"
#include "serve/io/hangups.h"
#include "serve/routes.h"

struct worker {
    struct loop loop;
    struct hub *hub;
    struct lane lane; /* what the app knows of it */
    pthread_t thread;
    struct fan fan;
    struct wheel wheel;
    struct yield
        yield; /* to commits, of what can wait: new connections, requests, catching up */
    struct accept accepts[HANDED_MAX]; /* one, unless sockets were handed over */
    unsigned n_accepts;
    struct control control;
    struct handshakes handshakes;
    struct hangups hangups;
    struct accept scrapers; /* the port for metrics; its fd is -1 without one */
    struct accept agents;   /* that for HAProxy's agents */
    struct ev_io signals;
    struct ev_prepare before_sleep;
    struct ev_check after_sleep;
    struct ev_idle more;   /* active while a flush is unfinished */
    struct ev_timer tick;  /* turns the wheel */
    struct ev_timer rates; /* the next tick of the fan */
    struct list conns, doomed;
    struct map polls; /* clients that poll, by id: see poll.h */
    struct list polls_due, polls_parked;
    size_t parked_bytes;
    uint32_t n_parked;
    struct list feedings; /* answers that can be given: see feeding.h */
    struct flight flight;
    struct following following;
    struct list muxes; /* those with something to write: see mux.h */
    char *frames;      /* what they write next */
    struct pool conn_pool, secure_pool, exchange_pool;
    struct socks socks;
    struct routes *routes;
    struct http_date date;
    int64_t rates_at_ms; /* when the next tick is; INT64_MAX: not armed */
    int64_t now_ms, wall_s;
    int64_t now_us;    /* when the turn began */
    size_t turn_bytes; /* of events taken in this turn */
    double events_at;  /* ev_now of the last turn that had some */
    uint64_t random;
    int64_t drain_end_ms;
    int64_t reported_ms;
    char *input;                         /* what one recv() may bring */
    struct conn *scraping[SCRAPERS_MAX]; /* that came over the port for metrics */
    uint32_t n_conns, turn_events, turn_patient;
    int reserve_fd;     /* given up for a moment when descriptors run out */
    bool reported_lags; /* by that */
    int64_t guessed_ms; /* when a wrong admin key was last logged */
    uint32_t guesses;   /* ... and how many came since */
    bool draining;
    bool finished_sent,
        released; /* 'finished' is posted; the app needs this thread no more */
};

#define WORKER_INPUT_BYTES 65536

/* Everything but sockets that are listened to. 0 or a negative errno; nothing is left open
 * on failure. [app] */
int worker_init(struct worker *w, struct hub *hub, unsigned index);

/* Take the connections of a listening socket (takes; of another process or just opened).
 * 'handed': others have it too, see accept.h. HANDED_MAX at most. Before the thread runs. [app] */
void worker_listen(struct worker *w, int fd, bool handed);

/* The same for the port that has metrics and nothing else. */
void worker_listen_scrapers(struct worker *w, int fd);

/* The same for the port that tells HAProxy's agents the load. */
void worker_listen_agents(struct worker *w, int fd);

/* Before the thread runs: what is sent goes through a ring. 0 or a negative errno. [app] */
int worker_give_ring(struct worker *w);

/* The calling thread is the worker's from here on; without one, in a rehearsal, the app's. */
void worker_begin(struct worker *w);

int worker_start(struct worker *w); /* the thread, held by the gate; 0 or -errno */

/* One turn without a thread, in a rehearsal. [app] */
void worker_step(struct worker *w);

/* After the thread ended: free everything. [app] */
void worker_join(struct worker *w);
void worker_deinit(struct worker *w);

/* In a drain: when what the app has not begun is given up, so that it can be answered. */
static inline int64_t worker_stops_ms(const struct worker *w) {
    return w->drain_end_ms - DRAIN_TELL_MS;
}

/* Free the connections that are doomed. None of them may be in use, or in a batch of sends. */
void worker_reap(struct worker *w);

/* A retry time for clients that shall come back. */
uint32_t worker_retry(struct worker *w);

#endif
