/* Handshakes of TLS, before there is a connection.
 *
 *     accept -> first byte -> handshake -> a connection that speaks HTTP (conn.h)
 *                        \-> plain HTTP: 400      \-> failed, or too late: closed
 *
 * What a peer has not said costs next to nothing: its session is made when its first byte
 * came and may begin a hello. A signature takes as long as a hundred deliveries, so what is
 * ready waits in a queue, of which a turn takes HANDSHAKE_TURN_US: between two of them
 * streams are served. Bounds: HANDSHAKES_MAX under way, then accepting waits; each has
 * HANDSHAKE_MS, and while all places are taken HANDSHAKE_HURRY_MS. [the worker's thread] */
#ifndef SLUICE_SERVE_IO_HANDSHAKE_H
#define SLUICE_SERVE_IO_HANDSHAKE_H

#include "base/list.h"
#include "base/pool.h"
#include "serve/io/accept.h"

#include <netinet/in.h>

struct handshakes {
    struct accept accept; /* its fd is -1 without TLS */
    struct list all;      /* the oldest first */
    struct list ready;    /* of them, those that can go on */
    struct pool pool;
    uint32_t n;
    bool held; /* accepting waits */
};

void handshakes_init(struct worker *w);
void handshakes_deinit(struct worker *w);

/* Take the connections of this listening socket (takes). 'handed': see accept.h. Before the
 * thread runs. */
void handshakes_listen(struct worker *w, int fd, bool handed);

/* Whether no more can begin. */
bool handshakes_full(const struct worker *w);

/* With a socket that was accepted (takes). */
void handshake_begin(struct worker *w, int fd, const struct in6_addr *ip);

/* Go on with those that are ready, for a while. True when some are left. */
bool handshakes_go_on(struct worker *w);

/* Give up those that are late. */
void handshakes_on_tick(struct worker *w);

/* No more begin; those under way go on. */
void handshakes_drain(struct worker *w);

#endif
