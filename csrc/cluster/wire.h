/* One connection to Redis: bytes out, replies in, each with the tag of its command.
 *
 * Replies come in the order of the commands. A server that says something unasked, too much
 * (resp.h), or nothing for WIRE_ANSWER_MS while it owes an answer, is not listened to any more. A
 * process that was stopped itself gives the server one more tick: what it said meanwhile lies in
 * the socket. [the loop's thread] */
#ifndef SLUICE_CLUSTER_WIRE_H
#define SLUICE_CLUSTER_WIRE_H

#include "cluster/resp.h"
#include "cluster/wire_tls.h"
#include "run/loop.h"

#include <sys/socket.h>

struct wire;

struct wire_calls {
    void (*opened)(void *owner, struct wire *w);
    void (*reply)(void *owner, struct wire *w, uint64_t tag, const struct reply *r);
    /* It is over, for this reason (borrowed): free it. */
    void (*closed)(void *owner, struct wire *w, const char *why);
};

struct wire_stats {
    uint64_t sent, received, bytes_out, bytes_in;
};

struct wire_address {
    struct sockaddr_storage address;
    socklen_t size;
};

/* Whom to trust, and the name that the certificate has to be for (copied). */
struct wire_tls {
    struct tls_client *client; /* until the connection is there */
    const char *host;
};

struct wire_to {
    const struct wire_address *address;
    struct wire_tls tls; /* client = NULL: plain */
};

/* Begin to connect (owned). 0, or a negative errno when that cannot be.
 * No call comes before this one has returned. */
int wire_open(struct wire **out, struct loop *loop, const struct wire_to *to,
              const struct wire_calls *calls, void *owner);
void wire_free(struct wire *w); /* also inside of its calls; NULL is fine */

/* 0 (the bytes are taken), or E_BUSY: too much is under way. 'extra_ms' is what the command may take
 * by itself. */
int wire_send(struct wire *w, uint64_t tag, struct buf *command, uint32_t extra_ms);

/* ---- By hand: no socket, and no time; a test is the server ---- */

int wire_by_hand(struct wire **out, struct loop *loop, const struct wire_calls *calls,
                 void *owner);
bool wire_is_open(const struct wire *w);
void wire_accept(struct wire *w);                   /* the connection is there */
void wire_take(struct wire *w, struct buf *out);    /* what it has said (adds it) */
void wire_hear(struct wire *w, struct slice bytes); /* what the server says */
void wire_cut(struct wire *w, const char *why);     /* it is gone */

/* What it has waited for in vain when it is given up. */
const char *wire_lacks(const struct wire *w);

/* It was closed because of something that stays so until somebody does something about it. */
bool wire_is_refused(const struct wire *w);

uint32_t wire_pending(const struct wire *w);
void wire_stats(const struct wire *w, struct wire_stats *out);

#endif
