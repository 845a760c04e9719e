/* Limits: how many streams at a time, and how many requests a minute, one address and one
 * user may have.
 *
 * An address is an IPv4 address, or the /64 network of an IPv6 one, which is what one
 * customer has. Streams are counted with or without a limit, so that one that a reload
 * brings knows of those that are open; a count lives as long as a stream of that address or
 * user. For requests each has a bucket, which holds what a minute allows and fills evenly:
 * LIMIT_BUCKETS of them, while there is a limit. Who comes when there is no room takes the
 * bucket that is the fullest: whoever had it may send more than the limit then, and never
 * less. [any thread] */
#ifndef SLUICE_SERVE_LIMITS_H
#define SLUICE_SERVE_LIMITS_H

#include "base/map.h"
#include "net/address.h"

#include <pthread.h>
#include <stdatomic.h>

enum limit {
    LIMIT_STREAMS_OF_ADDRESS,
    LIMIT_STREAMS_OF_USER,
    LIMIT_REQUESTS_OF_ADDRESS,
    LIMIT_REQUESTS_OF_USER,
    LIMITS
};

/* Its name, as operators and scrapers know it: "max_streams_per_address". */
const char *limit_name(enum limit which);

struct limits_set {
    uint32_t most[LIMITS];        /* 0: any number */
    const struct network *exempt; /* addresses that are never refused */
    size_t n_exempt;
};

struct bucket;

struct limits {
    pthread_mutex_t mutex;         /* for all but what is atomic */
    _Atomic uint32_t most[LIMITS]; /* written under it */
    struct network *exempt;
    size_t n_exempt;
    struct map streams[2];          /* addresses, users */
    struct bucket *buckets[LIMITS]; /* of those for requests; NULL without a limit */
    _Atomic uint64_t refused[LIMITS];
    struct {
        int64_t at_ms;
        uint64_t refused; /* by then */
    } told[LIMITS];
};

void limits_init(struct limits *l);
void limits_deinit(struct limits *l);

/* From now on these (copies). Who is over a lower limit stays, and gets no more. */
void limits_configure(struct limits *l, const struct limits_set *set);

/* A stream of 'who' begins: an address as text or a user's id. False: they have as many as
 * they may, and nothing is counted. What is no address has no limit. */
bool limits_enter(struct limits *l, enum limit which, struct slice who);
void limits_leave(struct limits *l, enum limit which, struct slice who); /* it ended */

/* A request of 'who' comes: 0, or after how many seconds the next one may. */
unsigned limits_ask(struct limits *l, enum limit which, struct slice who, int64_t now_ms);

/* Count that somebody was refused, and log it every LIMIT_TELL_MS. 'is_proxied': it says that
 * it came through a proxy, and is not believed. */
void limits_refused(struct limits *l, enum limit which, struct slice who,
                    bool is_proxied);

#endif
