/* Keys and signatures on OpenSSL's libcrypto; see pubkey.h. OpenSSL keeps its errors for the
 * thread until someone asks: each public function leaves none behind. */
#include "crypto/pubkey.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/status.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#define P256_BYTES 32

struct pubkey {
    enum pubkey_kind kind;
    size_t signature_bytes;
    EVP_PKEY *key;
};

/* ---- Making ------------------------------------------------------------------------- */

static const char *weakness_rsa(EVP_PKEY *key) {
    if (!EVP_PKEY_is_a(key, "RSA")) return "it is no RSA key";
    int bits = EVP_PKEY_get_bits(key);
    if (bits < RSA_BITS_MIN) return "an RSA key has at least 2048 bits";
    if (bits > RSA_BITS_MAX) return "an RSA key has at most 8192 bits";
    BIGNUM *e = NULL;
    bool odd = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) && BN_is_odd(e) &&
               !BN_is_one(e) && BN_num_bits(e) <= 64;
    BN_free(e);
    return odd ? NULL : "the exponent of the RSA key makes no sense";
}

static const char *weakness_ec(EVP_PKEY *key) {
    char group[64] = "";
    if (!EVP_PKEY_is_a(key, "EC")) return "it is no key of an elliptic curve";
    EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group,
                                   NULL);
    return strcmp(group, "prime256v1") == 0 ? NULL : "the curve is not P-256";
}

/* Why the key is not taken, or NULL. */
static const char *weakness(enum pubkey_kind kind, EVP_PKEY *key) {
    const char *why = kind == PUBKEY_RS256 ? weakness_rsa(key) : weakness_ec(key);
    if (why) return why;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    bool good = ctx && EVP_PKEY_public_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    return good ? NULL : "it is no sound key";
}

/* Takes the key (NULL: it could not be read). */
static int wrap(struct pubkey **out, enum pubkey_kind kind, EVP_PKEY *key,
                const char **why) {
    *why = key ? weakness(kind, key) : "it cannot be read";
    ERR_clear_error();
    struct pubkey *k = *why ? NULL : mem_try(sizeof *k);
    if (!k) {
        EVP_PKEY_free(key);
        return *why ? E_INVAL : E_NOMEM;
    }
    size_t bytes =
        kind == PUBKEY_RS256 ? (size_t)EVP_PKEY_get_size(key) : 2 * (size_t)P256_BYTES;
    *k = (struct pubkey){kind, bytes, key};
    *out = k;
    return 0;
}

int pubkey_of_pem(struct pubkey **out, enum pubkey_kind kind, struct slice pem,
                  const char **why) {
    BIO *bio = pem.n <= PEM_BYTES_MAX
                   ? BIO_new_mem_buf(pem.n > 0 ? pem.p : "", (int)pem.n)
                   : NULL;
    EVP_PKEY *key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return wrap(out, kind, key, why);
}

/* Takes the parameters. NULL when they make no key. */
static EVP_PKEY *key_of(const char *type, OSSL_PARAM *params) {
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (ctx && params && EVP_PKEY_fromdata_init(ctx) == 1)
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return key;
}

static BIGNUM *number_of(struct slice bytes) {
    return BN_bin2bn((const unsigned char *)bytes.p, (int)bytes.n, NULL);
}

int pubkey_of_rsa(struct pubkey **out, struct slice n, struct slice e, const char **why) {
    if (n.n > RSA_BITS_MAX / 8 || e.n > 8) {
        *why = "its numbers are too long";
        return E_INVAL;
    }
    BIGNUM *modulus = number_of(n), *exponent = number_of(e);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;
    if (modulus && exponent && build &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, modulus) &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, exponent))
        params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY *key = key_of("RSA", params);
    OSSL_PARAM_BLD_free(build);
    BN_free(modulus);
    BN_free(exponent);
    return wrap(out, PUBKEY_RS256, key, why);
}

int pubkey_of_point(struct pubkey **out, struct slice x, struct slice y,
                    const char **why) {
    if (x.n != P256_BYTES || y.n != P256_BYTES) {
        *why = "a coordinate of P-256 has 32 bytes";
        return E_INVAL;
    }
    unsigned char point[1 + 2 * P256_BYTES] = {4}; /* uncompressed (SEC 1, 2.3.3) */
    memcpy(point + 1, x.p, P256_BYTES);
    memcpy(point + 1 + P256_BYTES, y.p, P256_BYTES);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;
    if (build &&
        OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1",
                                        0) &&
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point,
                                         sizeof point))
        params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY *key = key_of("EC", params);
    OSSL_PARAM_BLD_free(build);
    return wrap(out, PUBKEY_ES256, key, why);
}

void pubkey_free(struct pubkey *k) {
    if (!k) return;
    EVP_PKEY_free(k->key);
    mem_free(k);
}

/* ---- Checking ----------------------------------------------------------------------- */

/* r and s as OpenSSL wants them (DER). Owned by OpenSSL; NULL when they make no sense. */
static unsigned char *der_of(struct slice raw, int *n) {
    unsigned char *der = NULL;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = number_of(slice_of(raw.p, P256_BYTES));
    BIGNUM *s = number_of(slice_of(raw.p + P256_BYTES, P256_BYTES));
    if (sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1) {
        *n = i2d_ECDSA_SIG(sig, &der);
    } else {
        BN_free(r);
        BN_free(s);
    }
    ECDSA_SIG_free(sig);
    return der;
}

static bool verify(const struct pubkey *k, struct slice text, const unsigned char *sig,
                   size_t n) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, k->key) == 1 &&
                EVP_DigestVerify(ctx, sig, n, (const unsigned char *)text.p, text.n) == 1;
    EVP_MD_CTX_free(ctx);
    return good;
}

bool pubkey_verify(struct pubkey *k, struct slice text, struct slice signature) {
    if (signature.n != k->signature_bytes) return false;
    bool good = false;
    if (k->kind == PUBKEY_RS256) {
        good = verify(k, text, (const unsigned char *)signature.p, signature.n);
    } else {
        int n = 0;
        unsigned char *der = der_of(signature, &n);
        good = der && n > 0 && verify(k, text, der, (size_t)n);
        OPENSSL_free(der);
    }
    ERR_clear_error();
    return good;
}
