/* Local certificates; see certificate.h. Keys are on P-256, which every browser takes. */
#include "crypto/certificate.h"

#include "base/status.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#define DAYS 825     /* the longest that Apple's browsers take */
#define EARLY_S 3600 /* clocks differ */

#define NAMES "DNS:localhost,IP:127.0.0.1,IP:::1"

static bool extend(X509 *x, X509 *issuer, int id, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &context, id, value);
    bool ok = e && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

static bool set_serial(X509 *x) {
    unsigned char bytes[16];
    if (RAND_bytes(bytes, sizeof bytes) != 1) return false;
    bytes[0] &= 0x7f; /* positive */
    BIGNUM *n = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL;
    BN_free(n);
    return ok;
}

/* One without extensions, of 'name' (returns owned). */
static X509 *begin(EVP_PKEY *key, const char *name) {
    X509 *x = X509_new();
    if (!x) return NULL;
    X509_NAME *subject = X509_get_subject_name(x);
    bool ok = X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) &&
              X509_gmtime_adj(X509_getm_notBefore(x), -EARLY_S) &&
              X509_time_adj_ex(X509_getm_notAfter(x), DAYS, 0, NULL) &&
              X509_set_pubkey(x, key) == 1 &&
              X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                         (const unsigned char *)name, -1, -1, 0) == 1;
    if (ok) return x;
    X509_free(x);
    return NULL;
}

static bool sign(X509 *x, X509 *issuer, EVP_PKEY *key) {
    return X509_set_issuer_name(x, X509_get_subject_name(issuer)) == 1 &&
           extend(x, issuer, NID_subject_key_identifier, "hash") &&
           X509_sign(x, key, EVP_sha256()) > 0;
}

static bool finish_ca(X509 *ca, EVP_PKEY *key) {
    return extend(ca, ca, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
           extend(ca, ca, NID_key_usage, "critical,keyCertSign,cRLSign") &&
           sign(ca, ca, key);
}

static bool finish_own(X509 *own, X509 *ca, EVP_PKEY *ca_key) {
    return extend(own, ca, NID_basic_constraints, "critical,CA:FALSE") &&
           extend(own, ca, NID_key_usage, "critical,digitalSignature") &&
           extend(own, ca, NID_ext_key_usage, "serverAuth") &&
           extend(own, ca, NID_subject_alt_name, NAMES) &&
           extend(own, ca, NID_authority_key_identifier, "keyid") &&
           sign(own, ca, ca_key);
}

/* What PEM wrote goes into a buffer. */
static int take(BIO *text, struct buf *out) {
    char *p;
    long n = BIO_get_mem_data(text, &p);
    return n > 0 ? buf_add(out, p, (size_t)n) : E_NOMEM;
}

static int write_certificate(X509 *x, struct buf *out) {
    BIO *text = BIO_new(BIO_s_mem());
    int err = text && PEM_write_bio_X509(text, x) == 1 ? take(text, out) : E_NOMEM;
    BIO_free(text);
    return err;
}

static int write_key(EVP_PKEY *key, struct buf *out) {
    BIO *text = BIO_new(BIO_s_secmem());
    bool ok = text && PEM_write_bio_PrivateKey(text, key, NULL, NULL, 0, NULL, NULL) == 1;
    int err = ok ? take(text, out) : E_NOMEM;
    BIO_free(text);
    return err;
}

int certificate_make_local(struct certificate_local *out) {
    *out = (struct certificate_local){0};
    EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
    X509 *ca = ca_key ? begin(ca_key, "Sluice, this machine's own") : NULL;
    X509 *own = key ? begin(key, "localhost") : NULL;
    int err = E_NOMEM;
    if (ca && own && finish_ca(ca, ca_key) && finish_own(own, ca, ca_key)) {
        err = write_certificate(ca, &out->ca);
        if (err == 0) err = write_certificate(own, &out->certificate);
        if (err == 0) err = write_key(key, &out->key);
    }
    X509_free(ca);
    X509_free(own);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    ERR_clear_error();
    if (err < 0) certificate_free_local(out);
    return err;
}

void certificate_free_local(struct certificate_local *c) {
    buf_free(&c->ca);
    buf_free(&c->certificate);
    if (c->key.p) OPENSSL_cleanse(c->key.p, c->key.n);
    buf_free(&c->key);
}

int certificate_expires(struct slice pem, int64_t *out) {
    BIO *text = BIO_new_mem_buf(pem.p, (int)pem.n);
    X509 *x = text ? PEM_read_bio_X509(text, NULL, NULL, NULL) : NULL;
    struct tm tm;
    bool ok = x && ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) == 1;
    if (ok) *out = (int64_t)timegm(&tm);
    X509_free(x);
    BIO_free(text);
    ERR_clear_error();
    return ok ? 0 : E_INVAL;
}
