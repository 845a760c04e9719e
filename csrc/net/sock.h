/* Connected sockets, read and written without waiting.
 *
 * Writing is asynchronous in shape: sock_write sends what the socket takes, or queues the
 * write; then its bytes stay where they are, and nothing else is written to that socket,
 * until sock_flush reports the result, once. A set with a ring (ring.h) queues every write: they
 * enter the kernel when RING_BATCH are there or at the flush. A plain set never queues. A delayed
 * one queues as if it had a ring, and sends one by one: it shows in specs that no code relies on a
 * result at once. A set belongs to one thread and has one write under way for each socket. */
#ifndef SLUICE_NET_SOCK_H
#define SLUICE_NET_SOCK_H

#include "base/bounds.h"
#include "base/slice.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* No number of bytes and no error of a socket that is connected. */
#define SOCK_QUEUED (-EINPROGRESS)

struct sock_write {
    int fd;
    struct slice head, body;
    void *owner;
    ssize_t result; /* of one that was queued and is done */
};

static inline bool sock_write_is_empty(const struct sock_write *w) {
    return w->head.n == 0 && w->body.n == 0;
}

struct ring;

struct socks {
    bool delayed;
    struct ring *ring; /* NULL: there is none. Owned */
    struct sock_write *queued;
    uint32_t n, room;
    uint32_t waiting; /* of these n the last ones, that have not been in the kernel */
    size_t bytes;     /* of those that wait */
};

/* The result of a queued write: bytes that were taken, or a negative errno. */
typedef void sock_fn(void *owner, ssize_t n);

void socks_deinit(struct socks *s); /* nothing may be queued */

/* The calling thread uses its ring from here on, or no longer. 0 or a negative errno. */
int socks_begin(struct socks *s);
void socks_end(struct socks *s);

/* Send both in one call, now: the bytes that were taken (0: the socket is full), or a
 * negative errno. */
ssize_t sock_send(int fd, struct slice head, struct slice body);

/* For later: SOCK_QUEUED. 'owner' gets the result. */
ssize_t sock_queue(struct socks *s, const struct sock_write *w);

/* One or the other (borrows the bytes until the result is known). */
static inline ssize_t sock_write(struct socks *s, const struct sock_write *w) {
    return s->ring || s->delayed ? sock_queue(s, w) : sock_send(w->fd, w->head, w->body);
}

/* Report the results of all that is queued; what is queued meanwhile is for the next. */
void sock_flush(struct socks *s, sock_fn *on_result);

/* Bytes that came (0: no more will come), -EAGAIN when there are none, or another negative
 * errno. */
ssize_t sock_read(int fd, char *bytes, size_t n);

/* A socket that listens on 127.0.0.1 (returns owned), and its port when that was 0; or a
 * negative errno. */
int sock_listen_local(uint16_t *port);

/* Bytes that the kernel holds: the peer has not acknowledged them. */
uint32_t sock_held(int fd);

/* For how long the peer has been silent that owes an acknowledgement, in ms; 0 when it owes
 * none. One that only has no room for more owes none. */
uint32_t sock_silent_ms(int fd);

#endif
