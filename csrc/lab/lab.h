/* A faulty proxy: a port of this machine that leads to a server, through a network as bad as
 * one wants.
 *
 * It knows bytes and the ends of connections. Requests and answers go on untouched, whatever
 * they are; no byte is lost, changed or moved before another, except that a connection may
 * end. Only while the server is away (by the options, or because nothing listens there) does
 * it read a request's head, to answer 502. Faults of the whole network come from
 * lab/weather, those of a connection from lab/pipe; time starts with the first connection.
 *
 * Bounds: LAB_CONNS_MAX connections; LAB_PIPE_BYTES each way, then it does not read, so that
 * a server sees how slow its client is. [owner of the loop] */
#ifndef SLUICE_LAB_LAB_H
#define SLUICE_LAB_LAB_H

#include "lab/weather.h"
#include "run/loop.h"

#include <sys/socket.h>

struct lab;

enum lab_kind {              /* what is reported; 'n' is: */
                LAB_CUT,     /* connections */
                LAB_STALL,   /* ms */
                LAB_FLOW,    /* nothing: it is over */
                LAB_AWAY,    /* ms; 'ended' connections */
                LAB_BACK,    /* nothing */
                LAB_SLOW,    /* bytes a second; 'ended' is ms */
                LAB_FAST,    /* nothing */
                LAB_IDLE,    /* ms that the connection was silent */
                LAB_REFUSED, /* 0: it is away; else the errno of connect */
                LAB_KINDS
};

struct lab_note {
    enum lab_kind kind;
    int64_t n, ended;
};

typedef void lab_fn(void *context, const struct lab_note *note);

struct lab_options {
    uint16_t port; /* on 127.0.0.1; 0: a free one */
    struct sockaddr_storage to;
    socklen_t to_n;
    uint64_t seed;
    lab_fn *on_note;
    void *context;
};

struct lab_counts {
    uint32_t open;     /* connections now */
    uint64_t all;      /* ... ever */
    uint64_t up, down; /* bytes that went to the server, to clients */
    uint64_t sends;    /* in so many writes */
    uint64_t notes[LAB_KINDS];
    bool stalled, away, slow;
};

/* Borrows the loop. 0 or a negative errno: the port. */
int lab_new(struct lab **out, struct loop *loop, const struct lab_options *options);
void lab_free(struct lab *lab); /* takes; NULL is fine. Connections end by RST */

uint16_t lab_port(const struct lab *lab);
struct lab_counts lab_counts(const struct lab *lab);

/* The network is like this from now on. */
void lab_set(struct lab *lab, const struct lab_faults *faults);

/* By hand, now. */
void lab_cut(struct lab *lab);
void lab_begin(struct lab *lab, enum weather_kind kind, int64_t ms); /* a stall, away */
void lab_slow(struct lab *lab, int64_t ms, int64_t bandwidth);
void lab_calm(struct lab *lab); /* what is under way is over */

#endif
