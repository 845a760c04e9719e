/* TLS to Redis: whom a node trusts and what it shows, read from files at each dial, and what to do when
 * it comes to nothing, as a sentence. */
#ifndef SLUICE_CLUSTER_WIRE_TLS_H
#define SLUICE_CLUSTER_WIRE_TLS_H

#include "net/tls_client.h"

struct wire_tls_options {
    bool on;
    const char *ca;         /* a file; NULL: whom the system trusts */
    const char *cert, *key; /* files, to be shown; NULL: none */
    const char *sni;        /* what the certificate has to be for; NULL: the host */
};

/* Owned (tls_client_free). NULL: 'why' says which file cannot be used. */
struct tls_client *wire_tls_read(const struct wire_tls_options *o, char *why,
                                 size_t size);

/* Why a session broke that was to reach 'host'. False: not because of TLS. */
bool wire_tls_explain(const struct tls *t, const char *host, char *why, size_t size);

#endif
