/* One connection through a faulty proxy: the client's socket, the server's, and a pipe each
 * way. conn.c moves bytes, lab.c says how the network is. [owner of the loop] */
#ifndef SLUICE_LAB_CONN_H
#define SLUICE_LAB_CONN_H

#include "base/list.h"
#include "lab/lab.h"
#include "lab/pipe.h"

enum conn_state {
    CONN_CONNECTING, /* to the server; what the client says waits */
    CONN_OPEN,
    CONN_REFUSED /* its request is read, to be answered 502 */
};

/* One end of it, and what it sends. */
struct conn_side {
    struct conn *conn;
    int fd;
    struct ev_io io;
    struct pipe pipe; /* from here to the other side */
    bool full;        /* it took less than it was offered */
    bool shut;        /* it was told that no more will come */
};

struct conn {
    struct list node;
    struct lab *lab;
    enum conn_state state;
    struct conn_side client, server;
    struct ev_timer timer;
    int64_t moved_ms; /* when a byte moved last */
    int64_t since_ms; /* when the state began */
};

struct lab {
    struct loop *loop;
    struct lab_options options;
    int fd;
    uint16_t port;
    struct ev_io accept;
    struct ev_timer again;   /* when descriptors are lacking */
    struct ev_timer weather; /* when the next fault is due */
    struct list conns;
    struct weather sky;
    struct lab_faults wanted; /* from the first connection on */
    bool started;
    struct lab_counts counts;
};

/* How the network is now. */
struct pipe_now lab_now(const struct lab *lab);

/* Count it and report it. */
void lab_note(struct lab *lab, enum lab_kind kind, int64_t n, int64_t ended);

/* Takes the client's socket. */
void conn_open(struct lab *lab, int fd);

/* Move what may move now, and say when to look again. It may be gone afterwards. */
void conn_turn(struct conn *c);

/* End it: by RST, or by FIN behind what was sent. Takes. */
void conn_cut(struct conn *c, bool by_end);

#endif
