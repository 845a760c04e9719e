/* A crowd: many readers of one event stream, counted together.
 *
 * What `sluice bench` runs, against any server that speaks HTTP/1.1, with or without TLS. Readers are opened at a
 * rate, parse what comes (chunked or bare), and are not opened again when they end. Counts
 * are of all readers since crowd_measure.
 *
 * Lost is what a reader did not get though another one did: of events with ids it is counted
 * how many readers got them (crowd/order). Events of our own publishes carry a number
 * themselves, and their time.
 *
 * Bounds: CROWD_READERS_MAX readers, CROWD_UNDER_WAY_MAX of them connecting,
 * CROWD_LINE_MAX bytes of an unfinished line each. [owner of the loop] */
#ifndef SLUICE_CROWD_CROWD_H
#define SLUICE_CROWD_CROWD_H

#include "base/slice.h"
#include "crowd/event.h"
#include "crowd/hist.h"
#include "run/loop.h"

#include <sys/socket.h>

struct crowd;
struct tls_client;

struct crowd_options {
    struct sockaddr_storage to;
    socklen_t to_n;
    struct tls_client *tls; /* whom to trust (takes); NULL: no TLS */
    struct slice host;      /* whose certificate is wanted then (copied) */
    struct slice request;   /* the whole head that each reader sends (copied) */
    struct slice
        mark; /* what the data of our own events hold (copied); empty: none are */
    struct slice
        time; /* the field of the data that has a time (copied); empty: none has */
    uint32_t readers;
    double rate; /* connections a second; 0: as fast as they come */
};

#define CROWD_REASONS_MAX 8 /* that are told apart: Sluice has as many */

struct crowd_reason {
    char word[EVENT_REASON_MAX];
    uint64_t n;
};

struct crowd_counts {
    uint32_t waiting; /* not opened yet, or not answered */
    uint32_t open;    /* have an event stream */
    uint64_t refused; /* answered with another status, or another type */
    uint64_t failed;  /* could not connect, or broke off before an answer */
    uint64_t ended;   /* by the server, in order */
    uint64_t broken;  /* broke off */
    int status;       /* of the last refusal; 0: none */
    int error;        /* of the last failure: an errno; 0: none */
    uint64_t events, own, bytes;
    uint64_t hellos, resets, byes; /* of a Sluice; its control events are no events */
    struct crowd_reason reasons[CROWD_REASONS_MAX]; /* of byes; unused ones are empty */
    uint64_t lost, repeated, disordered;
    struct hist head;    /* connect to the head of the answer, us */
    struct hist latency; /* of events with a time, us */
};

/* Borrows the loop; begins to connect. 0, E_NOMEM or a negative errno: then 'tls' is not taken. */
int crowd_new(struct crowd **out, struct loop *loop, const struct crowd_options *options);
void crowd_free(struct crowd *crowd); /* takes; NULL is fine. Connections end */

const struct crowd_counts *crowd_counts(const struct crowd *crowd); /* borrows */

/* Count events and latency from now on; what happened to connections stays. */
void crowd_measure(struct crowd *crowd);

/* Add to what is lost what open readers lack of the first 'own' events of our own, and of
 * others that the first of them had by then. Once, at the end. */
void crowd_settle(struct crowd *crowd, uint64_t own, int64_t until_us);

/* How many open readers have the own event of this number, or a later one. */
uint32_t crowd_reached(const struct crowd *crowd, uint64_t own);

/* Let this process have so many connections at once. 0, or a negative errno: 'limit' says how
 * many it may have. */
int crowd_allow(uint32_t readers, uint64_t *limit);

#endif
