/* Certificates that are made here, for a machine of one's own. */
#ifndef SLUICE_CRYPTO_CERTIFICATE_H
#define SLUICE_CRYPTO_CERTIFICATE_H

#include "base/buf.h"

#include <stdint.h>

/* PEM (owned by the caller's buffers). */
struct certificate_local {
    struct buf ca, certificate, key;
};

/* For localhost, 127.0.0.1 and ::1: a certificate with its key, and that of an
 * authority which vouches for it. The authority's key signs once and is thrown away, so that
 * whoever trusts it trusts nothing else. 0 or E_NOMEM. */
int certificate_make_local(struct certificate_local *out);
void certificate_free_local(struct certificate_local *c);

/* When the first certificate in a text of PEM is over, in seconds since 1970. 0, or E_INVAL. */
int certificate_expires(struct slice pem, int64_t *out);

#endif
