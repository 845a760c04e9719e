/* The hub: what the threads of one server share.
 *
 *     app thread ---- to_io.h ---> lane ---> I/O thread, one of several
 *     app thread <--- to_app.h --- hub <---- I/O threads
 *
 * Neither side knows the other's structs. Each thread has a lane, through which the app
 * reaches it; the hub is how a thread reaches the app, and where flags stand that more than
 * one thread reads. A field says who writes it; without a word it is constant once the
 * threads run. */
#ifndef SLUICE_SERVE_HUB_H
#define SLUICE_SERVE_HUB_H

#include "base/bounds.h"
#include "base/histogram.h"
#include "base/pool.h"
#include "fan/reason.h"
#include "fan/seq.h"
#include "net/tls.h"
#include "run/loop.h"
#include "serve/limits.h"
#include "serve/options.h"
#include "serve/queue.h"

struct hub;
struct report;
struct cluster;
struct tls_server;

#define ANSWERS 6 /* 0 stays unused */

/* Written by the I/O thread only; any thread may read them. */
struct lane_counters {
    _Atomic uint64_t requests, accepted, connections, streams;
    _Atomic uint64_t delivered, delivered_bytes, slow;
    _Atomic uint64_t compressions, compressed_from, compressed_to; /* as in a fan */
    _Atomic uint64_t ended[END_REASONS]; /* streams, by reason */
    _Atomic uint64_t answered[ANSWERS];  /* requests, by the first digit of the status */
    struct histogram answers;            /* in us: from a request to its answer or head */
    struct histogram turns;              /* in us: of its loop */
    struct histogram latency, replays;   /* in us, in events: as in a fan */
    _Atomic uint64_t tls_handshakes, tls_resumed;
    _Atomic uint64_t tls_failed[TLS_FAILURES]; /* handshakes, by reason */
    _Atomic uint64_t rings;                    /* 1: it sends through a ring */
};

/* One I/O thread as the others know it; a part of its worker. */
struct lane {
    struct hub *hub;
    struct loop *loop;
    unsigned index;
    struct queue queue; /* of requests for the app */
    struct lane_counters counters;
    struct message finished; /* to the app: no connection is left */
    struct report *report;   /* [app] the last one; NULL: no stream lags */
    atomic_bool reporting;   /* the app has not taken the last report yet */
};

struct hub {
    struct serve_options options;
    struct sequencer seq;
    struct limits limits; /* of addresses and users */
    struct loop *app;
    struct lane *lanes[IO_THREADS_MAX];
    unsigned n_lanes;
    atomic_uint commits; /* [app] under way: what can wait pauses, see run/yield.h */
    /* News of clients that need not be reported: wakes no thread, is taken at the end of any turn
     * and before the clients are looked at. */
    struct mailbox deferred;
    atomic_bool any_deferred;
    pthread_mutex_t clients_lock;
    struct pools clients;       /* what they stand in; under the lock: see client.c */
    atomic_bool news_wanted;    /* [app] clients that come and go are reported */
    atomic_bool stopping;       /* [app] the stop hooks have begun */
    atomic_bool trouble;        /* [app] of the store: see store_stats */
    atomic_bool full;           /* no more clients should come: see io/load.h */
    uint64_t max_descriptors;   /* of the process; 0: no limit */
    atomic_bool draining;       /* the drain has begun: by the app, or without it */
    atomic_bool signalled;      /* [io] by TERM or INT */
    _Atomic int64_t stop_ms;    /* when the end was first asked for; 0: not yet */
    unsigned char poll_key[32]; /* of the tokens of polls */
    struct tls_server *tls;     /* owned; NULL: no TLS */
    struct cluster *cluster;    /* [app] owned; NULL: it serves alone */
    char mark[CLUSTER_MARK_LENGTH + 1]; /* how ids of clients begin; "": anyhow */
    pthread_mutex_t gate;               /* held while the threads are made */
    bool started;                       /* under the gate while they are */
    uint16_t redirect_port; /* of TLS, to which the plain port leads; 0: it does not */
};

/* Takes the options, also on failure of what follows. [app] */
void hub_init(struct hub *hub, struct serve_options *options, struct loop *app);
void hub_deinit(struct hub *hub); /* no news may be left */

/* A lane joins before its thread runs; all leave when a start failed. [app] */
void hub_add(struct hub *hub, struct lane *lane);
void hub_clear(struct hub *hub);

/* From here on a script that hangs has not long to live. [any thread] */
void hub_note_stop(struct hub *hub);

/* The counters of all lanes added up. [any thread] */
struct hub_totals {
    uint64_t requests, accepted, connections, streams;
    uint64_t delivered, delivered_bytes, slow;
    uint64_t compressions, compressed_from, compressed_to;
    uint64_t rings;
    uint64_t tls_handshakes, tls_resumed, tls_failed;
};
struct hub_totals hub_totals(const struct hub *hub);

#endif
