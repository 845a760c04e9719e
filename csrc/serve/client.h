/* A client: one open stream as both sides know it.
 *
 * The I/O thread that owns the connection and the app thread each hold a reference. The
 * fields are parted by owner; what is immutable both may read. Its three messages live
 * inside it, so that telling the app never allocates. */
#ifndef SLUICE_SERVE_CLIENT_H
#define SLUICE_SERVE_CLIENT_H

#include "base/map.h"
#include "fan/plan.h"
#include "run/mailbox.h"

#include <stdatomic.h>
#include <stdint.h>

#define CLIENT_ID_LENGTH 16

struct outlet;
struct worker;
struct topic;

struct client {
    atomic_uint refs;
    char id[CLIENT_ID_LENGTH + 1];
    int route_id;
    struct worker *worker;

    /* io */
    struct outlet *outlet; /* NULL: closed */
    struct message opened, closed, writable;
    struct plan *plan;  /* what it was opened with; handed to the app by 'opened' */
    const char *reason; /* why it closed; written before 'closed' is posted */
    bool open_posted;

    /* both: bytes of client:send that wait for the socket */
    atomic_uint queued;
    atomic_bool wants_writable; /* [app] sets, [io] clears and posts */

    /* app */
    struct map_node node;
    bool registered, told; /* in the registry; 'open' was dispatched */
    char *user;
    struct topic **topics; /* 'few' while they fit there */
    struct topic *few[2];
    uint16_t n_topics, cap_topics;

    uint16_t path_at; /* immutable: the address and the path, each with its NUL */
    char text[];
};

static inline const char *client_ip(const struct client *c) {
    return c->text;
}

static inline const char *client_path(const struct client *c) {
    return c->text + c->path_at;
}

/* Copies the texts. Owned, one reference. */
struct client *client_new(struct worker *worker, const char *ip, const char *path,
                          int route_id);
struct client *client_ref(struct client *c);
void client_unref(struct client *c); /* NULL is fine */

#endif
