/* Public keys that check signatures of JSON Web Tokens (RFC 7518, sections 3.3 and 3.4).
 *
 * A key checks one algorithm, chosen when it is made; nothing that a token says changes
 * that. Weak and malformed keys are refused when they are made. [one thread] */
#ifndef SLUICE_CRYPTO_PUBKEY_H
#define SLUICE_CRYPTO_PUBKEY_H

#include "base/slice.h"

enum pubkey_kind {
    PUBKEY_RS256, /* RSA of 2048 to 8192 bits, PKCS #1 v1.5 with SHA-256 */
    PUBKEY_ES256 /* the curve P-256 with SHA-256; a signature is r and s, 32 bytes each */
};

struct pubkey;

/* From "-----BEGIN PUBLIC KEY-----" (SubjectPublicKeyInfo), from modulus and exponent, and
 * from a point, as the bytes of a JWK (RFC 7518, section 6). Owned. 0, E_NOMEM or E_INVAL
 * with a sentence in *why (static). */
int pubkey_of_pem(struct pubkey **out, enum pubkey_kind kind, struct slice pem,
                  const char **why);
int pubkey_of_rsa(struct pubkey **out, struct slice n, struct slice e, const char **why);
int pubkey_of_point(struct pubkey **out, struct slice x, struct slice y,
                    const char **why);

void pubkey_free(struct pubkey *k); /* takes; NULL is fine */

/* Whether the signature is the key's for this text. False too when memory is out. */
bool pubkey_verify(struct pubkey *k, struct slice text, struct slice signature);

#endif
