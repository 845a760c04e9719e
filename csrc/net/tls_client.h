/* Clients of TLS: whom they trust, what they show of themselves, and why it came to nothing. The
 * sessions are those of tls.h. */
#ifndef SLUICE_NET_TLS_CLIENT_H
#define SLUICE_NET_TLS_CLIENT_H

#include "net/tls.h"

#include <stddef.h>

struct tls_client; /* may be shared by many sessions of one thread */

/* Trust what 'ca' (a file of PEM; NULL: the system) vouches for; 'any': whatever comes. Owned; NULL
 * and a sentence in 'why' on failure. */
struct tls_client *tls_client_new(const char *ca, bool any, char *why, size_t why_size);
void tls_client_free(struct tls_client *c); /* takes; sessions may go on */

/* Show a certificate (a file of PEM, with those behind it that vouch for it) to a server that asks for
 * one. False, and a sentence, when the files cannot be used, or anybody may read the key. */
bool tls_client_show(struct tls_client *c, const char *cert, const char *key, char *why,
                     size_t why_size);

/* A session on a socket that is connected (borrows the descriptor) to 'host', a name or an
 * address, for which the certificate has to be valid. 'alpn' is offered, in the form of the
 * wire ("\x08http/1.1"); empty: none. Owned. */
struct tls *tls_client_open(struct tls_client *c, int fd, const char *host,
                            struct slice alpn);

/* Why a session of a client broke, in its handshake or later: a server says in the middle of what
 * follows that it wants a certificate. */
enum tls_fault {
    TLS_FAULT_NONE,    /* TLS has nothing to do with it */
    TLS_FAULT_PLAIN,   /* what answers speaks no TLS */
    TLS_FAULT_TRUST,   /* nobody who is trusted vouches for the server's certificate */
    TLS_FAULT_EXPIRED, /* ... it has ended, */
    TLS_FAULT_EARLY,   /* ... has not begun, */
    TLS_FAULT_NAME,    /* ... or is for another name */
    TLS_FAULT_WANTED,  /* the server wants a certificate of ours */
    TLS_FAULT_OURS,    /* the server does not take the one that it was shown */
    TLS_FAULT_OTHER
};
enum tls_fault tls_fault(const struct tls *t);

/* What OpenSSL calls that (static). */
const char *tls_fault_text(const struct tls *t);

#endif
