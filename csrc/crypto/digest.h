/* SHA-256 (RFC 6234), HMAC-SHA256 (RFC 2104) and comparison of secrets. [any thread] */
#ifndef SLUICE_CRYPTO_DIGEST_H
#define SLUICE_CRYPTO_DIGEST_H

#include "base/slice.h"

#define DIGEST_BYTES 32

void digest_sha256(struct slice text, unsigned char out[DIGEST_BYTES]);

/* 0, or E_NOMEM: then 'out' is zeros. */
int digest_hmac(struct slice key, struct slice text, unsigned char out[DIGEST_BYTES]);

/* Takes as long for equal bytes as for others: of two texts only the lengths can be found
 * out by measuring. */
bool digest_equal(struct slice a, struct slice b);

#endif
