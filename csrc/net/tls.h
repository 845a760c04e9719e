/* TLS on one connected socket: handshake, reading, writing, the end. On OpenSSL.
 *
 * The same calls serve both sides: a session of a server comes from tls_server.h, one of a
 * client from tls_client.h. Nothing waits: what cannot go on says -EAGAIN, and tls_wants what
 * for. What a session writes is what it was given, in records of at most TLS_RECORD_MAX
 * bytes, head and body together: a gather of events is one record.
 *
 * A write that the socket did not take is kept inside, encrypted: the bytes that were
 * refused have to be the next that are offered, more may stand behind them, and they may have
 * moved. A read takes a whole record if there is room for TLS_RECORD_MAX: then nothing is
 * left inside that no event of the socket would tell of.
 *
 * Renegotiation, compression and early data are off. A session belongs to one thread at a time
 * and keeps its buffers only while bytes are in them. */
#ifndef SLUICE_NET_TLS_H
#define SLUICE_NET_TLS_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define TLS_RECORD_MAX 16384

/* Why a handshake failed. */
enum tls_failure {
    TLS_FAILED_NOT, /* it has not */
    TLS_FAILED_TIMEOUT,
    TLS_FAILED_GONE,        /* the peer closed */
    TLS_FAILED_PLAIN,       /* it spoke HTTP without TLS */
    TLS_FAILED_VERSION,     /* below TLS 1.2, or no TLS at all */
    TLS_FAILED_CIPHER,      /* nothing in common */
    TLS_FAILED_ALPN,        /* it speaks nothing that is offered */
    TLS_FAILED_CERTIFICATE, /* the certificate is not trusted, by the peer or by us */
    TLS_FAILED_PROTOCOL,    /* what came made no sense */
    TLS_FAILURES
};

const char *tls_failure_word(enum tls_failure why);

/* What both sides agreed to speak. A peer that does not ask for anything speaks HTTP/1.1. */
enum tls_protocol { TLS_HTTP1, TLS_HTTP2 };

enum tls_want { TLS_WANTS_READ, TLS_WANTS_WRITE };

struct tls;

/* ---- Sessions ----------------------------------------------------------------------- */

void tls_free(
    struct tls *t); /* takes; says nothing to the peer, and leaves the socket open */

/* 0 when it is done, -EAGAIN, or another negative code; then tls_failure says why. */
int tls_handshake(struct tls *t);
enum tls_failure tls_failure(const struct tls *t);
enum tls_want tls_wants(const struct tls *t); /* after -EAGAIN of a handshake or a read */
enum tls_protocol tls_protocol(const struct tls *t);
bool tls_is_resumed(const struct tls *t);
const char *tls_version(const struct tls *t); /* "TLSv1.3" */
const char *tls_cipher(const struct tls *t);

/* As sock_read, where 0 is the peer's word that all was sent; a socket that ends without it
 * is -ECONNRESET. -EAGAIN is also said after words of TLS's own, behind which the socket may
 * have more: it has to be one that is watched by level. */
ssize_t tls_read(struct tls *t, char *bytes, size_t n);

/* As sock_send: both, in one record if they fit. */
ssize_t tls_write(struct tls *t, struct slice head, struct slice body);

/* Bytes that the socket gave to and took from the last call: also of a record that is not
 * complete. */
uint32_t tls_came(const struct tls *t);
uint32_t tls_went(const struct tls *t);

/* Say that nothing more follows: 0, also when it cannot be said any more, or -EAGAIN. */
int tls_close(struct tls *t);

#endif
