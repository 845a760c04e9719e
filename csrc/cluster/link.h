/* The link of a node to Redis: its connections, which stand and fall together.
 *
 *   link_dial ──▶ connect, AUTH, SELECT, INFO, SCRIPT LOAD ──▶ judge the server ──▶ up
 *                      │ any error, a timeout                     │ refused          │ link_send … reply
 *                      ▼                                          ▼                  ▼
 *                    down ◀──────────────────────────────── all are closed ◀── any error, a timeout
 *
 * LINK_SCRIPTS carries scripts, pipelined: answers come in order. LINK_FEED carries XREAD, which may
 * block. LINK_KEEP, where one is needed, carries what waits for replicas or a disk. All are proven to be the same process of the same server. What was sent and not
 * answered when the link goes down gets no answer: a join on the next link decides what became of it
 * (scripts.h). Nothing is sent again by the link, and it dials only when it is told to.
 *
 * Everything runs on the thread of the loop that it was given, and no call waits: names are resolved
 * by a thread that ends by itself. Bounds: LINK_DIAL_MS until it is up, LINK_ANSWER_MS for the oldest
 * answer, LINK_PENDING_MAX commands and LINK_OUT_MAX bytes under way. */
#ifndef SLUICE_CLUSTER_LINK_H
#define SLUICE_CLUSTER_LINK_H

#include "cluster/scripts.h"
#include "cluster/wire_tls.h"
#include "run/loop.h"

struct link;

enum link_lane { LINK_SCRIPTS, LINK_FEED, LINK_KEEP, LINK_LANES };

/* What is durable is there behind an answer: on the disk of Redis, or on so many replicas. */
struct link_durable {
    bool on_disk;
    uint32_t replicas, wait_ms; /* 0 replicas: none */
};

struct link_options { /* an empty text is none */
    const char *host; /* or */
    uint16_t port;
    const char *path;                                /* ... of a Unix socket, or: */
    const char *sentinels, *set, *sentinel_password; /* see sentinel_options */
    uint32_t db;
    const char *user, *password; /* NULL: none */
    const char *password_file;   /* read at each connect; NULL: none */
    struct wire_tls_options tls; /* its files are read at each connect */
    struct link_durable durable;
    bool asserts_disk;  /* that each write is on the disk first, where nobody may ask */
    const char *name;   /* of the cluster: [a-z0-9-]{1,32} */
    const char *client; /* how the connections are called: CLIENT SETNAME */
    bool by_hand; /* a test is the server, by link_wire; 'path' is how it is called */
};

/* The server that answers, as INFO and CONFIG have it. Texts live as long as the link is up. */
struct link_server {
    const char *version, *run, *replid;
    bool has_aof, has_waitaof;
    enum script_safe safe;
    uint32_t replicas;
    uint64_t memory_max;
};

struct link_calls {
    /* All connections are there and proven: join now. */
    void (*up)(void *owner, const struct link_server *server);
    /* The reply to what was sent with that tag (borrowed). The callee may send and close. */
    void (*reply)(void *owner, enum link_lane lane, uint64_t tag, const struct reply *r);
    /* It was up and is no longer, or an attempt has failed: why, as a sentence. 'refused': the server
     * is there and cannot be used as it is; the sentence says what to do. The callee may dial. */
    void (*down)(void *owner, const char *why, bool refused);
    /* Something to be told to whoever runs it: no persistence, no TLS, ...; once per kind. */
    void (*warn)(void *owner, const char *what);
};

/* Owned. Copies the options. 0, E_INVAL when this build has no hiredis. */
int link_new(struct link **out, struct loop *loop, const struct link_options *o,
             const struct link_calls *calls, void *owner);
void link_free(struct link *l); /* calls nothing */

void link_dial(
    struct link *l); /* once; 'up' or 'down' follows, never inside of this call */
bool link_is_up(const struct link *l);

/* As of the last look, which comes every LINK_LOOK_MS; while it is up. */
const struct link_server *link_server(const struct link *l);

/* Where keys and digests are, for the functions of scripts.h; while it is up. */
const struct scripts *link_scripts(const struct link *l);

/* What is durable is kept behind a wait on LINK_KEEP, which is there then. */
bool link_keeps_by_wait(const struct link *l);

/* Send one command (moves the bytes out of 'command'). 0; E_CLOSED: it is not up; E_BUSY: too much is
 * under way, nothing was sent. 'extra_ms': for how long the command may block. Tags are below 2^63. */
int link_send(struct link *l, enum link_lane lane, uint64_t tag, struct buf *command,
              uint32_t extra_ms);

/* What it waits for, of whom, as a sentence for its log when its owner waits no longer. */
void link_lacks(const struct link *l, char *why, size_t size);

/* Close all; nothing is called. */
void link_close(struct link *l);

/* By hand: the wire of a lane (NULL: none), and what a timer would do every link_look_ms. */
struct wire *link_wire(const struct link *l, enum link_lane lane);
void link_look(struct link *l);
uint32_t link_look_ms(const struct link *l);

/* Figures. */
struct link_stats {
    uint64_t dials, ups, sent, received, bytes_out, bytes_in;
    uint32_t pending; /* commands without an answer */
};
void link_stats(const struct link *l, struct link_stats *out);

#endif
