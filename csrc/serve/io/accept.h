/* Taking the connections of a listening socket of a worker.
 *
 * A connection that fails by itself is passed over. When something is lacking, descriptors
 * or memory, the socket would stay readable and the loop spin on it: then one connection
 * that waits is sent away, at the price of the worker's reserve descriptor, and accepting
 * pauses. Over the Unix socket it is answered why; a browser is not, since it comes back after
 * a connection that ended and never after a 503. [the worker's thread] */
#ifndef SLUICE_SERVE_IO_ACCEPT_H
#define SLUICE_SERVE_IO_ACCEPT_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

struct worker;
struct conn;

struct accept {
    struct ev_io io; /* its data, and the timer's: the accept */
    struct ev_timer again;
    struct worker *worker;
    int likely; /* so many wait, if as many come as did: one more is asked for in vain */
    int64_t logged_ms; /* when it was logged that something is lacking */
    bool trusted;      /* the Unix socket: who may open it is */
    bool secure;       /* speaks TLS: a handshake first */
    bool scraper;      /* for figures and nothing else, without a key */
    bool agent;        /* each connection is told the load, and closed */
    bool handed; /* others have the socket too: threads, and the process after this one */
};

/* Takes the socket; -1: there is none. */
void accept_init(struct accept *a, struct worker *w, int fd, bool trusted);
void accept_start(struct accept *a);

/* Accept no more until it is started again. */
void accept_hold(struct accept *a);

/* Close it. Idempotent. True when there was one. */
bool accept_stop(struct accept *a);

/* Take what waits, 'max' connections at most. Returns how many. */
int accept_all(struct accept *a, int max);

/* A connection that came over the port for metrics has ended. */
void accept_forget(struct worker *w, const struct conn *c);

#endif
