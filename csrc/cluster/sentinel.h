/* Which Redis is the master: some Sentinels are asked in turn, the one first that answered last.
 *
 * What one says is believed as far as dialling goes: the server has to say of itself that it is a
 * master. Its connection stays, and it is asked each second whether it names another one now: a
 * hint, so that a master that is only cut off from the others is left. A Sentinel that goes away
 * means nothing until the next dial. [the loop's thread; no call waits] */
#ifndef SLUICE_CLUSTER_SENTINEL_H
#define SLUICE_CLUSTER_SENTINEL_H

#include "cluster/wire.h"

struct sentinel;

struct sentinel_options { /* texts are copied */
    const char *places;   /* "host port,host port" */
    const char *set;      /* what they call the master and its replicas */
    const char *password; /* theirs; NULL: none */
    const char *sni;      /* see wire_tls_options */
};

/* The sentinel and its owner may be gone behind each. */
struct sentinel_calls {
    void (*found)(void *owner, const char *host, uint16_t port);
    /* None of them knows one: a sentence. 'refused': they answer, and cannot help. */
    void (*failed)(void *owner, const char *why, bool refused);
    void (*moved)(void *owner, const char *host, uint16_t port); /* behind found */
};

/* Owned. NULL: there is none in 'places', or too many. */
struct sentinel *sentinel_new(struct loop *loop, const struct sentinel_options *o,
                              const struct sentinel_calls *calls, void *owner);
void sentinel_free(struct sentinel *s); /* calls nothing; NULL is fine */

/* Begin: 'found' or 'failed' follows, never inside of this call. 'tls' as in wire_tls, NULL: plain. */
void sentinel_ask(struct sentinel *s, struct tls_client *tls);

/* What it named is in use. */
void sentinel_agree(struct sentinel *s);

/* Hang up. One that had not answered yet, or named what could not be used, is asked last the next
 * time: one that is cut off from the others may not know better. */
void sentinel_close(struct sentinel *s);

#endif
