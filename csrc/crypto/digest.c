/* On OpenSSL's libcrypto; see digest.h. */
#include "crypto/digest.h"

#include "base/fault.h"
#include "base/status.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <limits.h>

void digest_sha256(struct slice text, unsigned char out[DIGEST_BYTES]) {
    SHA256((const unsigned char *)text.p, text.n, out);
}

int digest_hmac(struct slice key, struct slice text, unsigned char out[DIGEST_BYTES]) {
    static const char none = '\0'; /* no key is a key without bytes */
    unsigned char short_key[DIGEST_BYTES];
    memset(out, 0, DIGEST_BYTES);
    if (key.n > INT_MAX) { /* a long key is its digest (RFC 2104, section 2) */
        digest_sha256(key, short_key);
        key = slice_of((const char *)short_key, sizeof short_key);
    }
    bool done =
        !fault_here() && HMAC(EVP_sha256(), key.n > 0 ? key.p : &none, (int)key.n,
                              (const unsigned char *)text.p, text.n, out, NULL) != NULL;
    if (!done) ERR_clear_error();
    return done ? 0 : E_NOMEM;
}

bool digest_equal(struct slice a, struct slice b) {
    return a.n == b.n && CRYPTO_memcmp(a.p, b.p, a.n) == 0;
}
