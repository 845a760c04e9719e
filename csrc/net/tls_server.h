/* The side of TLS that has certificates: pairs of a certificate and its key, one of which a
 * client's hello chooses by the name in it, and the keys of session tickets.
 *
 * A pair is read from two files. All pairs are read, and checked, before any of them takes
 * the place of one that is in use; sessions go on with what they began with. [any thread,
 * unless a word says otherwise] */
#ifndef SLUICE_NET_TLS_SERVER_H
#define SLUICE_NET_TLS_SERVER_H

#include "net/tls.h"

struct tls_server;

/* Of one certificate: the path of it with those that vouch for it behind it (PEM), and that of
 * its private key. */
struct tls_files {
    const char *certificate, *key;
};

struct tls_server *tls_server_new(void);    /* owned; NULL: no memory or random bytes */
void tls_server_free(struct tls_server *s); /* takes; sessions may go on */

/* Read these pairs and use them from the next handshake on; the first is for clients that
 * name none of the others. Pairs for the same names with keys of two kinds are one, of which a
 * client gets what it can verify. 0, or E_INVAL with a sentence in 'why': then nothing has changed.
 * A key that others than owner and group may open is refused. */
int tls_server_load(struct tls_server *s, const struct tls_files *files, int n, char *why,
                    size_t why_size);

/* When the first of the certificates in use is over, seconds since 1970; and which of the files
 * that were loaded it is. */
int64_t tls_server_expires(struct tls_server *s, int *which);

/* The next ticket key takes its place. */
void tls_server_rotate(struct tls_server *s);

/* A session on an accepted socket (borrows the descriptor). Owned; NULL: no memory. */
struct tls *tls_server_open(struct tls_server *s, int fd);

/* ---- For tls.c ---------------------------------------------------------------------- */

struct tls_pairs;
struct tls_pairs *tls_pairs_ref(struct tls_pairs *p);
void tls_pairs_unref(struct tls_pairs *p); /* takes; NULL is fine */

#endif
