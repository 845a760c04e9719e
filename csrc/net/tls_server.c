/* Certificates, and which of them a client gets; see tls_server.h. */
#include "net/tls_server.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/status.h"
#include "net/h2.h"
#include "net/tls_inner.h"
#include "net/tls_tickets.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is in use: never changed, let go by the last session that began with it. */
struct tls_pairs {
    atomic_uint refs;
    int n;
    int64_t expires; /* of the one that ends first ... */
    int first;       /* ... which is that of these files */
    SSL_CTX *contexts[TLS_PAIRS_MAX];
};

struct tls_server {
    pthread_mutex_t lock; /* of the pointer: handshakes begin while it changes */
    struct tls_pairs *pairs;
    struct tls_tickets *tickets;
};

/* A sentence on why a file cannot be used. */
struct problem {
    char *text;
    size_t size;
};

struct tls_pairs *tls_pairs_ref(struct tls_pairs *p) {
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void tls_pairs_unref(struct tls_pairs *p) {
    if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) > 1) return;
    for (int i = 0; i < p->n; i++) SSL_CTX_free(p->contexts[i]);
    mem_free(p);
}

/* ---- Files -------------------------------------------------------------------------- */

static int refuse(struct problem *p, const char *what, const char *path,
                  const char *why) {
    snprintf(p->text, p->size, "%s%s: %s", what, path, why);
    return E_INVAL;
}

static int check_file(struct problem *p, const char *what, const char *path, int fd,
                      bool is_key) {
    struct stat st;
    if (fstat(fd, &st) < 0) return refuse(p, what, path, status_text(-errno));
    if (!S_ISREG(st.st_mode)) return refuse(p, what, path, "it is no file");
    if (st.st_size > TLS_FILE_MAX) return refuse(p, what, path, "it is too large");
    if (is_key && (st.st_mode & S_IRWXO))
        return refuse(
            p, what, path,
            "everybody on this machine may open it: chmod o= it, and make a new "
            "key if others have been here");
    return 0;
}

/* The text of a file (returns owned) in *out. */
static int read_file(struct problem *p, const char *what, const char *path, bool is_key,
                     BIO **out) {
    char *text = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return refuse(p, what, path, status_text(-errno));
    int err = check_file(p, what, path, fd, is_key);
    ssize_t n = 0, got = 1;
    if (err == 0) text = mem_try(TLS_FILE_MAX);
    while (text && got > 0 && n < TLS_FILE_MAX) {
        got = read(fd, text + n, (size_t)(TLS_FILE_MAX - n));
        if (got > 0) n += got;
    }
    if (text && got < 0) err = refuse(p, what, path, status_text(-errno));
    close(fd);
    *out = text && err == 0 ? BIO_new(BIO_s_secmem()) : NULL;
    if (*out) BIO_write(*out, text, (int)n);
    else if (err == 0) err = refuse(p, what, path, status_text(E_NOMEM));
    if (text) OPENSSL_cleanse(text, TLS_FILE_MAX);
    mem_free(text);
    return err;
}

static int explain(struct problem *p, const char *what, const char *path) {
    tls_explain(p->text, p->size, what, path);
    return E_INVAL;
}

/* ---- One pair ----------------------------------------------------------------------- */

#define CERTIFICATE "TLS certificate "
#define KEY "TLS key "

/* The certificate, then those that vouch for it. */
static int use_chain(struct problem *p, SSL_CTX *c, const char *path, BIO *text) {
    X509 *own = PEM_read_bio_X509_AUX(text, NULL, NULL, NULL);
    int ok = own ? SSL_CTX_use_certificate(c, own) : 0;
    X509_free(own);
    if (!own) {
        ERR_clear_error();
        return refuse(p, CERTIFICATE, path,
                      "there is no certificate in it (PEM is wanted)");
    }
    while (ok == 1) {
        X509 *next = PEM_read_bio_X509(text, NULL, NULL, NULL);
        if (!next) break;
        ok = SSL_CTX_add0_chain_cert(c, next) == 1;
        if (!ok) X509_free(next);
    }
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (ok != 1 || !at_end) return explain(p, CERTIFICATE, path);
    ERR_clear_error();
    return 0;
}

/* Nobody is there to ask. */
static int no_password(char *room, int size, int writes, void *context) {
    (void)room, (void)size, (void)writes;
    *(bool *)context = true;
    return -1;
}

static int use_key(struct problem *p, SSL_CTX *c, const struct tls_files *f, BIO *text) {
    bool asked = false;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(text, NULL, no_password, &asked);
    if (!key) {
        ERR_clear_error();
        return refuse(p, KEY, f->key,
                      asked ? "it is under a password, which nobody is there to give"
                            : "there is no private key in it (PEM is wanted)");
    }
    X509 *own = SSL_CTX_get0_certificate(c);
    bool fits = X509_check_private_key(own, key) == 1;
    int ok = fits ? SSL_CTX_use_PrivateKey(c, key) : 0;
    EVP_PKEY_free(key);
    if (!fits) {
        ERR_clear_error();
        snprintf(p->text, p->size, KEY "%s: it does not belong to the certificate %s",
                 f->key, f->certificate);
        return E_INVAL;
    }
    return ok == 1 ? 0 : explain(p, KEY, f->key);
}

static int use_files(struct problem *p, SSL_CTX *c, const struct tls_files *f) {
    BIO *chain = NULL, *key = NULL;
    int err = read_file(p, CERTIFICATE, f->certificate, false, &chain);
    if (err == 0) err = read_file(p, KEY, f->key, true, &key);
    if (err == 0) err = use_chain(p, c, f->certificate, chain);
    if (err == 0) err = use_key(p, c, f, key);
    BIO_free(chain);
    BIO_free(key);
    return err;
}

/* Seconds since 1970. */
static int64_t time_of(const ASN1_TIME *time) {
    struct tm tm;
    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* ---- Which of them ------------------------------------------------------------------ */

static int on_name(SSL *ssl, int *alert, void *context) {
    (void)alert, (void)context;
    struct tls *t = SSL_get_app_data(ssl);
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    for (int i = 0; name && t->pairs && i < t->pairs->n; i++) {
        X509 *own = SSL_CTX_get0_certificate(t->pairs->contexts[i]);
        if (X509_check_host(own, name, 0, 0, NULL) != 1) continue;
        SSL_set_SSL_CTX(ssl, t->pairs->contexts[i]);
        break;
    }
    return SSL_TLSEXT_ERR_OK;
}

/* What is offered, the better first; a client that asks for nothing of it gets an alert (RFC 7301,
 * section 3.2). */
static const unsigned char offered[] = "\x02h2\x08http/1.1";
#define OF_H2 3 /* bytes of it */

/* NOLINTNEXTLINE(readability-function-size): OpenSSL calls it so */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *n,
                   const unsigned char *asked, unsigned asked_n, void *context) {
    (void)ssl, (void)context;
    unsigned char *chosen;
    unsigned skip = h2_is_built() ? 0 : OF_H2;
    int found = SSL_select_next_proto(
        &chosen, n, offered + skip, (unsigned)sizeof offered - 1 - skip, asked, asked_n);
    *out = chosen;
    return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK
                                           : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static SSL_CTX *make_context(struct tls_server *s) {
    SSL_CTX *c = tls_context(TLS_server_method());
    if (!c) return NULL;
    SSL_CTX_set_tlsext_servername_callback(c, on_name);
    SSL_CTX_set_alpn_select_cb(c, on_alpn, NULL);
    if (tls_tickets_use(s->tickets, c) == 1) return c;
    SSL_CTX_free(c);
    return NULL;
}

/* ---- All of them -------------------------------------------------------------------- */

static bool has_name(const GENERAL_NAMES *names, GENERAL_NAME *wanted) {
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
        if (GENERAL_NAME_cmp(sk_GENERAL_NAME_value(names, i), wanted) == 0) return true;
    return false;
}

static bool has_names_of(const GENERAL_NAMES *names, const GENERAL_NAMES *others) {
    for (int i = 0; i < sk_GENERAL_NAME_num(others); i++)
        if (!has_name(names, sk_GENERAL_NAME_value(others, i))) return false;
    return true;
}

/* Whether both are for the same names, in any order. */
static bool are_for_the_same(X509 *a, X509 *b) {
    GENERAL_NAMES *of_a = X509_get_ext_d2i(a, NID_subject_alt_name, NULL, NULL);
    GENERAL_NAMES *of_b = X509_get_ext_d2i(b, NID_subject_alt_name, NULL, NULL);
    bool same = of_a && of_b && has_names_of(of_a, of_b) && has_names_of(of_b, of_a);
    GENERAL_NAMES_free(of_a);
    GENERAL_NAMES_free(of_b);
    return same;
}

/* Put a pair beside one for the same names whose key is of another kind: OpenSSL gives a client
 * what it can verify. False: there is none. */
static bool join(struct tls_pairs *pairs, SSL_CTX *c) {
    X509 *own = SSL_CTX_get0_certificate(c);
    STACK_OF(X509) *chain = NULL;
    SSL_CTX_get0_chain_certs(c, &chain);
    for (int i = 0; i < pairs->n; i++) {
        SSL_CTX *other = pairs->contexts[i];
        if (are_for_the_same(SSL_CTX_get0_certificate(other), own) &&
            SSL_CTX_use_cert_and_key(other, own, SSL_CTX_get0_privatekey(c), chain, 0) ==
                1)
            return true;
    }
    ERR_clear_error(); /* one of that kind is there */
    return false;
}

static void note_end(struct tls_pairs *pairs, SSL_CTX *c, int index) {
    int64_t expires = time_of(X509_get0_notAfter(SSL_CTX_get0_certificate(c)));
    if (pairs->expires > 0 && expires >= pairs->expires) return;
    pairs->expires = expires;
    pairs->first = index;
}

static int add_pair(struct problem *p, struct tls_server *s, struct tls_pairs *pairs,
                    const struct tls_files *files, int index) {
    const struct tls_files *f = &files[index];
    SSL_CTX *c = make_context(s);
    if (!c) return explain(p, CERTIFICATE, f->certificate);
    int err = use_files(p, c, f);
    if (err == 0) note_end(pairs, c, index);
    if (err < 0 || join(pairs, c)) SSL_CTX_free(c);
    else pairs->contexts[pairs->n++] = c;
    return err;
}

static struct tls_pairs *current(struct tls_server *s) {
    pthread_mutex_lock(&s->lock);
    struct tls_pairs *pairs = s->pairs ? tls_pairs_ref(s->pairs) : NULL;
    pthread_mutex_unlock(&s->lock);
    return pairs;
}

int tls_server_load(struct tls_server *s, const struct tls_files *files, int n, char *why,
                    size_t why_size) {
    struct problem p = {why, why_size};
    if (n < 1 || n > TLS_PAIRS_MAX) {
        snprintf(why, why_size, "1 to %d pairs of a certificate and a key",
                 TLS_PAIRS_MAX);
        return E_INVAL;
    }
    struct tls_pairs *fresh = mem_new(sizeof *fresh);
    atomic_store(&fresh->refs, 1);
    for (int i = 0; i < n; i++) {
        if (add_pair(&p, s, fresh, files, i) == 0) continue;
        tls_pairs_unref(fresh);
        return E_INVAL;
    }
    pthread_mutex_lock(&s->lock);
    struct tls_pairs *before = s->pairs;
    s->pairs = fresh;
    pthread_mutex_unlock(&s->lock);
    tls_pairs_unref(before);
    return 0;
}

int64_t tls_server_expires(struct tls_server *s, int *which) {
    struct tls_pairs *pairs = current(s);
    int64_t expires = pairs ? pairs->expires : 0;
    *which = pairs ? pairs->first : 0;
    tls_pairs_unref(pairs);
    return expires;
}

void tls_server_rotate(struct tls_server *s) {
    tls_tickets_rotate(s->tickets);
}

struct tls_server *tls_server_new(void) {
    struct tls_server *s = mem_new(sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    s->tickets = tls_tickets_new();
    if (s->tickets) return s;
    tls_server_free(s);
    return NULL;
}

void tls_server_free(struct tls_server *s) {
    if (!s) return;
    tls_pairs_unref(s->pairs);
    tls_tickets_free(s->tickets);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

struct tls *tls_server_open(struct tls_server *s, int fd) {
    struct tls_pairs *pairs = current(s);
    struct tls *t = pairs ? tls_make(pairs->contexts[0], fd, pairs) : NULL;
    tls_pairs_unref(pairs);
    return t;
}
