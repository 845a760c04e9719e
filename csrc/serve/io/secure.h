/* Connections over TLS: the same as others, with a session behind them in memory, so that a
 * plain one has no byte of it and pays one test of a bit for each call. A session reads and
 * writes its socket itself, never through a ring. [the worker's thread] */
#ifndef SLUICE_SERVE_IO_SECURE_H
#define SLUICE_SERVE_IO_SECURE_H

#include "net/sock.h"
#include "net/tls.h"
#include "serve/io/conn.h"

struct secure {
    struct conn conn; /* 'secure' is set in it */
    struct tls *tls;  /* owned */
};

/* NULL: it is plain. */
static inline struct tls *conn_tls(const struct conn *c) {
    return c->secure ? container_of(c, struct secure, conn)->tls : NULL;
}

/* As sock_read and sock_send, over TLS. */
ssize_t secure_read(struct conn *c, char *bytes, size_t n);
ssize_t secure_send(struct conn *c, struct slice head, struct slice body);

/* Whether its session has to write before it can read on. */
bool secure_wants_write(const struct conn *c);

/* Say that nothing follows. False: the socket is full, and it has to be called again. */
bool secure_close(struct conn *c);

/* For either kind. What comes over TLS is read by whole records, so it may be more than there is
 * room for, by one record at most. */
static inline ssize_t conn_receive(struct conn *c, char *bytes, size_t room,
                                   size_t size) {
    if (c->secure) return room > 0 ? secure_read(c, bytes, size) : -EAGAIN;
    return sock_read(c->io.fd, bytes, room);
}

static inline ssize_t conn_send(struct conn *c, struct slice head, struct slice body) {
    if (c->secure) return secure_send(c, head, body);
    return sock_send(c->io.fd, head, body);
}

#endif
