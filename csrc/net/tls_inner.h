/* What the files of TLS share. */
#ifndef SLUICE_NET_TLS_INNER_H
#define SLUICE_NET_TLS_INNER_H

#include "net/tls.h"

#include <openssl/ssl.h>

struct tls_pairs;

struct tls {
    SSL *ssl;
    struct tls_pairs *pairs; /* shared, of a server, until the handshake is done */
    int fd;
    int error;               /* of the socket, negative; 0: none */
    uint32_t came, went;     /* with the last call */
    uint32_t handshake_came; /* with all of the handshake */
    unsigned long reason;    /* OpenSSL's, of what broke it; 0: none */
    enum tls_failure failure;
    bool done : 1;   /* the handshake */
    bool broken : 1; /* nothing can be read or written any more */
    bool wants_write : 1;
};

/* What both sides have in common. Owned; NULL when memory is out. */
SSL_CTX *tls_context(const SSL_METHOD *side);

/* A session with what the context says (shares pairs; NULL: of a client). Owned. */
struct tls *tls_make(SSL_CTX *context, int fd, struct tls_pairs *pairs);

/* Write OpenSSL's first reason, after "what: ", and forget the others. */
void tls_explain(char *why, size_t size, const char *what, const char *path);

#endif
