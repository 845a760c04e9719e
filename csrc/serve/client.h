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

    /* io */
    struct outlet *outlet; /* NULL: closed */
    struct plan *plan; /* what it was opened with, unless the app knows; it takes it */

    /* both */
    struct message message;         /* on its way while there is news */
    atomic_uint news;               /* [io] adds to it, [app] takes all */
    atomic_uint queued;             /* bytes of client:send that wait for the socket */
    _Atomic uint64_t events, bytes; /* given to its socket; [io] counts, [app] reads */

    /* app */
    struct map_node node;
    char *user; /* before it opens; [io] reads it then */
    union {
        struct topic *few[CLIENT_FEW_TOPICS]; /* while they fit there */
        struct topic **many;                  /* as long as the next power of two */
    } topics;
    uint8_t n_topics; /* at most STREAM_CHANNELS_MAX */
    bool registered,
        announced; /* in the registry; 'open' was dispatched, or never will be */
    bool written;  /* by its function; before it opens, and [io] reads it then */

    /* both */
    atomic_bool wants_writable; /* [app] sets, [io] clears and reports */
    atomic_bool close_wanted;   /* [app] sets: its end is reported, wanted or not */
    _Atomic uint16_t resets;    /* as events */
    uint8_t reason; /* [io] enum end_reason: why it closed; before the app is notified */

    /* immutable */
    char id[CLIENT_ID_LENGTH + 1];
    uint8_t path_at; /* the address and the path, each with its NUL */
    char text[];
};

static inline const char *client_ip(const struct client *c) {
    return c->text;
}

static inline const char *client_path(const struct client *c) {
    return c->text + c->path_at;
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

/* Copies the texts. Owned, one reference. */
struct client *client_new(struct lane *lane, const char *ip, const char *path,
                          int route_id);
struct client *client_ref(struct client *c);
void client_unref(struct client *c); /* NULL is fine */

#endif
