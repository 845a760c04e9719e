/* TLS for the benchmark, with nothing but OpenSSL between it and the socket: what is measured against is a
 * bare loop of SSL_write. Sessions are found by descriptor. One thread. */
#ifndef BENCH_SECURE_H
#define BENCH_SECURE_H

#include <stdbool.h>
#include <sys/types.h>

/* The side that has a certificate, or with NULL the other, which trusts any. Ends the program on failure. */
void secure_start(const char *certificate, const char *key);
void secure_want_h2(void); /* from now on handshakes ask for HTTP/2 (ALPN) */

/* A handshake on a socket, to its end, however long that takes. The peer has to have begun, or to be
 * answering. False: it failed. */
bool secure_shake(int fd);
void secure_end(int fd); /* closes no socket */

bool secure_is(int fd);
ssize_t secure_send(int fd, const char *p,
                    size_t n); /* as send; -1 also when the socket is full */
ssize_t secure_recv(int fd, char *p,
                    size_t n); /* as recv; errno EAGAIN when nothing is there */

#endif
