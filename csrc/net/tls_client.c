/* Clients; see tls_client.h. */
#include "net/tls_client.h"

#include "base/status.h"
#include "net/tls_inner.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

/* ---- Files -------------------------------------------------------------------------- */

/* What OpenSSL would not say. */
static bool has_file(const char *what, const char *path, bool is_key, char *why,
                     size_t size) {
    struct stat st;
    FILE *file = fopen(path, "re");
    bool is_there = file && fstat(fileno(file), &st) == 0;
    const char *problem = is_there ? NULL : status_text(-errno);
    if (is_there && !S_ISREG(st.st_mode)) problem = "it is no file";
    else if (is_there && is_key && (st.st_mode & S_IRWXO))
        problem = "everybody on this machine may open it: chmod o= it";
    if (file) fclose(file);
    if (problem) snprintf(why, size, "%s%s: %s", what, path, problem);
    return !problem;
}

/* A key under a password cannot be used: nobody is there to type it. */
static int no_password(char *out, int size, int writes, void *owner) {
    (void)out, (void)size, (void)writes, (void)owner;
    return -1;
}

struct tls_client *tls_client_new(const char *ca, bool any, char *why, size_t why_size) {
    if (ca && !has_file("certificates to trust: ", ca, false, why, why_size)) return NULL;
    SSL_CTX *c = tls_context(TLS_client_method());
    int ok =
        c ? ca ? SSL_CTX_load_verify_file(c, ca) : SSL_CTX_set_default_verify_paths(c)
          : 0;
    if (ok != 1) {
        tls_explain(why, why_size, "certificates to trust: ", ca ? ca : "the system's");
        SSL_CTX_free(c);
        return NULL;
    }
    SSL_CTX_set_verify(c, any ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_default_passwd_cb(c, no_password);
    return (struct tls_client *)c;
}

void tls_client_free(struct tls_client *c) {
    SSL_CTX_free((SSL_CTX *)c);
}

bool tls_client_show(struct tls_client *client, const char *cert, const char *key,
                     char *why, size_t why_size) {
    SSL_CTX *c = (SSL_CTX *)client;
    if (!has_file("certificate ", cert, false, why, why_size) ||
        !has_file("key ", key, true, why, why_size))
        return false;
    if (SSL_CTX_use_certificate_chain_file(c, cert) != 1) {
        tls_explain(why, why_size, "certificate ", cert);
        return false;
    }
    if (SSL_CTX_use_PrivateKey_file(c, key, SSL_FILETYPE_PEM) == 1) return true;
    tls_explain(why, why_size, "key ", key);
    return false;
}

/* ---- Sessions ----------------------------------------------------------------------- */

static bool is_address(const char *host) {
    unsigned char bytes[16];
    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

static bool expect_host(SSL *ssl, const char *host) {
    if (is_address(host))
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

struct tls *tls_client_open(struct tls_client *c, int fd, const char *host,
                            struct slice alpn) {
    struct tls *t = tls_make((SSL_CTX *)c, fd, NULL);
    if (!t) return NULL;
    bool ok = expect_host(t->ssl, host);
    if (ok && alpn.n > 0)
        ok = SSL_set_alpn_protos(t->ssl, (const unsigned char *)alpn.p,
                                 (unsigned)alpn.n) == 0;
    if (ok) return t;
    tls_free(t);
    return NULL;
}

static enum tls_fault fault_of_certificate(long result) {
    switch (result) {
    case X509_V_ERR_CERT_HAS_EXPIRED: return TLS_FAULT_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID: return TLS_FAULT_EARLY;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: return TLS_FAULT_NAME;
    default: return TLS_FAULT_TRUST;
    }
}

enum tls_fault tls_fault(const struct tls *t) {
    if (t->reason == 0 || ERR_GET_LIB(t->reason) != ERR_LIB_SSL) return TLS_FAULT_NONE;
    switch (ERR_GET_REASON(t->reason)) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return fault_of_certificate(SSL_get_verify_result(t->ssl));
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_PACKET_LENGTH_TOO_LONG: return TLS_FAULT_PLAIN;
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED: return TLS_FAULT_WANTED;
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN: return TLS_FAULT_OURS;
    case SSL_R_UNEXPECTED_EOF_WHILE_READING: return TLS_FAULT_NONE;
    default: return TLS_FAULT_OTHER;
    }
}

const char *tls_fault_text(const struct tls *t) {
    if (ERR_GET_REASON(t->reason) == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return X509_verify_cert_error_string(SSL_get_verify_result(t->ssl));
    const char *text = t->reason ? ERR_reason_error_string(t->reason) : NULL;
    return text ? text : "it broke";
}
