/* The keys of session tickets: shared by all threads and certificates of a server, made anew
 * every TICKET_ROTATE_S.
 *
 * A ticket is what a client brings back to skip the signature of a handshake; the server
 * keeps nothing of it. The newest key makes tickets, those before it are understood for a
 * while, so that a ticket lives TICKET_LIFE_S at least. Keys are in memory alone: after a restart
 * every client makes one whole handshake. [any thread] */
#ifndef SLUICE_NET_TLS_TICKETS_H
#define SLUICE_NET_TLS_TICKETS_H

#include <openssl/ssl.h>

struct tls_tickets;

struct tls_tickets *tls_tickets_new(void); /* owned; NULL: no random bytes */
void tls_tickets_free(struct tls_tickets *k);

/* Sessions of this context make and take tickets of these keys (borrows: they stay). */
int tls_tickets_use(struct tls_tickets *k, SSL_CTX *context); /* 1: it worked */

/* The next key takes its place, as if the time had come. */
void tls_tickets_rotate(struct tls_tickets *k);

#endif
