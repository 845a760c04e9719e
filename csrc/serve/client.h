/* A client: one open stream as both sides know it.
 *
 * The I/O thread that owns the connection and the app thread each hold a reference. The
 * fields are parted by owner; what is immutable both may read. The message that tells the
 * app its news lives inside it, so that telling never allocates. */
#ifndef SLUICE_SERVE_CLIENT_H
#define SLUICE_SERVE_CLIENT_H

#include "base/map.h"
#include "fan/plan.h"
#include "fan/reason.h"
#include "run/mailbox.h"

#include <stdatomic.h>
#include <stdint.h>

#define CLIENT_ID_LENGTH 16
#define CLIENT_FEW_TOPICS 2

struct outlet;
struct lane;
struct topic;

enum client_news { CLIENT_OPENED = 1, CLIENT_WRITABLE = 2, CLIENT_CLOSED = 4 };

/* One of these stands for every open stream: sized and ordered to waste nothing. */
struct client {
    atomic_uint refs;
    int route_id;
    struct lane *lane;

    struct outlet *outlet; /* [io] NULL: closed */
    struct map_node node;  /* [app] in server->clients */
    union {
        struct topic *few[CLIENT_FEW_TOPICS]; /* [app] while they fit there */
        struct topic **many;                  /* [app] as long as the next power of two */
        struct plan *plan; /* what it was opened with, while it has one: 'has_plan' */
    } topics;

    struct message message;         /* on its way while there is news */
    _Atomic uint64_t events, bytes; /* given to its socket; [io] counts, [app] reads */
    atomic_uint queued;             /* bytes of client:send that wait for the socket */
    _Atomic uint16_t resets;        /* as events */
    atomic_uchar news;              /* [io] adds to it, [app] takes all */
    atomic_bool wants_writable;     /* [app] sets, [io] clears and reports */
    atomic_bool close_wanted;       /* [app] sets: its end is reported, wanted or not */

    bool has_plan;  /* [io] sets it with the news that it is open; the app takes it */
    uint8_t reason; /* [io] enum end_reason: why it closed; before the app is notified */
    uint8_t n_topics; /* [app] at most STREAM_CHANNELS_MAX */
    bool registered;  /* [app] in the registry */
    bool announced;   /* [app] 'open' was dispatched, or never will be */
    uint8_t places;   /* as admission.h counts; before it opens, then [io] */

    /* immutable */
    bool written; /* by its function */
    bool hidden;  /* the server's own page: no client of the app */
    char id[CLIENT_ID_LENGTH + 1];
    uint8_t path_at;
    uint16_t user_at; /* 0: none */
    char text[];      /* the address, the path and the user, each with its NUL */
};

static inline struct slice client_id(const struct client *c) {
    return slice_of(c->id, CLIENT_ID_LENGTH);
}

static inline const char *client_ip(const struct client *c) {
    return c->text;
}

static inline const char *client_path(const struct client *c) {
    return c->text + c->path_at;
}

static inline const char *client_user(const struct client *c) {
    return c->user_at ? c->text + c->user_at : NULL;
}

static inline struct topic **client_topics(struct client *c) {
    return c->n_topics > CLIENT_FEW_TOPICS ? c->topics.many : c->topics.few;
}

/* Count what was given to the socket: one writer, so no locked instruction. [io] */
static inline void client_count(struct client *c, uint32_t events, uint32_t bytes,
                                uint16_t resets) {
    uint64_t n = atomic_load_explicit(&c->events, memory_order_relaxed);
    atomic_store_explicit(&c->events, n + events, memory_order_relaxed);
    n = atomic_load_explicit(&c->bytes, memory_order_relaxed);
    atomic_store_explicit(&c->bytes, n + bytes, memory_order_relaxed);
    atomic_store_explicit(&c->resets, resets, memory_order_relaxed);
}

/* What a client is from its beginning; borrowed. */
struct client_spec {
    const char *ip, *path, *user; /* NULL: no user */
    int route_id;
    bool written;
};

/* Copies. Owned, one reference. */
struct client *client_new(struct lane *lane, const struct client_spec *spec);
struct client *client_ref(struct client *c);
void client_unref(struct client *c); /* NULL is fine */

#endif
