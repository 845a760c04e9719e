/* Sessions; see tls.h.
 *
 * OpenSSL reads and writes the socket through a BIO of ours: it raises no SIGPIPE, costs a
 * session no second object, and knows how many bytes went by. */
#include "net/tls.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "net/sock.h"
#include "net/tls_inner.h"
#include "net/tls_server.h"

#include <openssl/err.h>

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>

const char *tls_failure_word(enum tls_failure why) {
    static const char *const words[TLS_FAILURES] = {"none",  "timeout",     "gone",
                                                    "plain", "version",     "cipher",
                                                    "alpn",  "certificate", "protocol"};
    return words[why];
}

/* ---- The socket --------------------------------------------------------------------- */

static int on_write(BIO *bio, const char *bytes, int n) {
    struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t taken = sock_send(t->fd, slice_of(NULL, 0), slice_of(bytes, (size_t)n));
    if (taken > 0) {
        t->went += (uint32_t)taken;
        return (int)taken;
    }
    if (taken == 0) BIO_set_retry_write(bio);
    else t->error = (int)taken;
    return -1;
}

/* A hello may not be of any size. */
static bool is_too_long(struct tls *t, ssize_t n) {
    if (t->done) return false;
    t->handshake_came += (uint32_t)n;
    return t->handshake_came > HANDSHAKE_BYTES_MAX;
}

static int on_read(BIO *bio, char *bytes, int n) {
    struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t got = sock_read(t->fd, bytes, (size_t)n);
    if (got > 0) {
        t->came += (uint32_t)got;
        if (!is_too_long(t, got)) return (int)got;
        t->error = -EPROTO;
    } else if (got == -EAGAIN) {
        BIO_set_retry_read(bio);
    } else {
        t->error = got == 0 ? -ECONNRESET : (int)got;
    }
    return -1;
}

static long on_control(BIO *bio, int command, long number, void *p) {
    (void)bio, (void)number, (void)p;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method; /* for the process, like OpenSSL's own */

static void make_method(void) {
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sluice socket");
    if (!method) return;
    BIO_meth_set_write(method, on_write);
    BIO_meth_set_read(method, on_read);
    BIO_meth_set_ctrl(method, on_control);
}

static BIO *socket_bio(struct tls *t) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_method);
    BIO *bio = method ? BIO_new(method) : NULL;
    if (!bio) return NULL;
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    return bio;
}

/* ---- Life --------------------------------------------------------------------------- */

#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20" /* of TLS 1.2; those of 1.3 are all fine */
#define GROUPS "X25519:P-256:P-384"

SSL_CTX *tls_context(const SSL_METHOD *side) {
    SSL_CTX *c = SSL_CTX_new(side);
    if (!c) return NULL;
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                               SSL_OP_CIPHER_SERVER_PREFERENCE |
                               SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_clear_mode(c, SSL_MODE_AUTO_RETRY); /* a flood of key updates goes by turns */
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    if (SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) == 1 &&
        SSL_CTX_set_cipher_list(c, CIPHERS) == 1 &&
        SSL_CTX_set1_groups_list(c, GROUPS) == 1)
        return c;
    SSL_CTX_free(c);
    return NULL;
}

struct tls *tls_make(SSL_CTX *context, int fd, struct tls_pairs *pairs) {
    struct tls *t = mem_try(sizeof *t);
    if (!t) return NULL;
    *t = (struct tls){.fd = fd, .ssl = SSL_new(context)};
    BIO *bio = t->ssl ? socket_bio(t) : NULL;
    if (!bio || SSL_set_app_data(t->ssl, t) != 1) {
        BIO_free(bio);
        SSL_free(t->ssl);
        mem_free(t);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_bio(t->ssl, bio, bio);
    t->pairs = pairs ? tls_pairs_ref(pairs) : NULL;
    if (pairs) SSL_set_accept_state(t->ssl);
    else SSL_set_connect_state(t->ssl);
    return t;
}

void tls_free(struct tls *t) {
    if (!t) return;
    SSL_free(t->ssl);
    tls_pairs_unref(t->pairs);
    ERR_clear_error();
    mem_free(t);
}

void tls_explain(char *why, size_t size, const char *what, const char *path) {
    unsigned long code = ERR_get_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    snprintf(why, size, "%s%s: %s", what, path, reason ? reason : "it cannot be used");
    ERR_clear_error();
}

/* ---- Sessions ----------------------------------------------------------------------- */

/* Before a call of OpenSSL: what it says of its result must not be of another one's. */
static void begin(struct tls *t) {
    if (ERR_peek_error() != 0) ERR_clear_error();
    t->came = t->went = 0;
    t->wants_write = false;
}

/* What a call that did not succeed means: -EAGAIN, 0 for the peer's end, or a negative
 * errno, and then it is broken. */
static int result_of(struct tls *t, int result) {
    switch (SSL_get_error(t->ssl, result)) {
    case SSL_ERROR_WANT_READ: return -EAGAIN;
    case SSL_ERROR_WANT_WRITE: t->wants_write = true; return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN: return 0;
    default: break;
    }
    t->broken = true;
    t->reason = ERR_peek_error();
    return t->error < 0 ? t->error : -EPROTO;
}

static enum tls_failure failure_of(const struct tls *t) {
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_REASON(code);
    if (t->error < 0 && t->error != -EPROTO) return TLS_FAILED_GONE;
    if (ERR_GET_LIB(code) != ERR_LIB_SSL) return TLS_FAILED_PROTOCOL;
    switch (reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION: return TLS_FAILED_VERSION;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE: return TLS_FAILED_CIPHER;
    case SSL_R_NO_APPLICATION_PROTOCOL:
    case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL: return TLS_FAILED_ALPN;
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN: return TLS_FAILED_CERTIFICATE;
    case SSL_R_UNEXPECTED_EOF_WHILE_READING: return TLS_FAILED_GONE;
    default: return TLS_FAILED_PROTOCOL;
    }
}

int tls_handshake(struct tls *t) {
    begin(t);
    int result = SSL_do_handshake(t->ssl);
    if (result == 1) {
        t->done = true;
        tls_pairs_unref(t->pairs);
        t->pairs = NULL;
        return 0;
    }
    int err = result_of(t, result);
    if (err == -EAGAIN) return err;
    t->broken = true;
    t->failure = err == 0 ? TLS_FAILED_GONE : failure_of(t);
    ERR_clear_error();
    return err < 0 ? err : -ECONNRESET;
}

enum tls_failure tls_failure(const struct tls *t) {
    return t->failure;
}

enum tls_want tls_wants(const struct tls *t) {
    return t->wants_write ? TLS_WANTS_WRITE : TLS_WANTS_READ;
}

enum tls_protocol tls_protocol(const struct tls *t) {
    const unsigned char *name = NULL;
    unsigned n = 0;
    SSL_get0_alpn_selected(t->ssl, &name, &n);
    return slice_eq_lit(slice_of((const char *)name, n), "h2") ? TLS_HTTP2 : TLS_HTTP1;
}

bool tls_is_resumed(const struct tls *t) {
    return SSL_session_reused(t->ssl) == 1;
}

const char *tls_version(const struct tls *t) {
    return SSL_get_version(t->ssl);
}

const char *tls_cipher(const struct tls *t) {
    return SSL_get_cipher_name(t->ssl);
}

ssize_t tls_read(struct tls *t, char *bytes, size_t n) {
    if (t->broken) return -EPIPE;
    begin(t);
    size_t got = 0;
    int result = SSL_read_ex(t->ssl, bytes, n, &got);
    return result == 1 ? (ssize_t)got : result_of(t, result);
}

/* The next record: of the body, or of both together. */
static struct slice next_record(struct slice head, struct slice body) {
    static _Thread_local char joined[TLS_RECORD_MAX];
    if (head.n == 0) {
        size_t n = body.n < TLS_RECORD_MAX ? body.n : TLS_RECORD_MAX;
        return slice_of(body.p, n);
    }
    size_t first = head.n < TLS_RECORD_MAX ? head.n : TLS_RECORD_MAX;
    size_t rest = TLS_RECORD_MAX - first < body.n ? TLS_RECORD_MAX - first : body.n;
    memcpy(joined, head.p, first);
    if (rest > 0) memcpy(joined + first, body.p, rest);
    return slice_of(joined, first + rest);
}

static void pass(struct slice *s, size_t n) {
    *s = slice_of(s->n > 0 ? s->p + n : s->p, s->n - n);
}

/* A peer that makes a write wait for what it says first has half a message on its way, which
 * no honest one does: it is given up. */
ssize_t tls_write(struct tls *t, struct slice head, struct slice body) {
    if (t->broken) return -EPIPE;
    begin(t);
    size_t sent = 0;
    while (head.n + body.n > 0) {
        struct slice record = next_record(head, body);
        size_t n = 0;
        int result = SSL_write_ex(t->ssl, record.p, record.n, &n);
        if (result != 1) {
            int err = result_of(t, result);
            if (err == -EAGAIN && t->wants_write) return (ssize_t)sent;
            t->broken = true;
            return err < 0 && err != -EAGAIN ? err : -EPROTO;
        }
        size_t of_head = n < head.n ? n : head.n;
        pass(&head, of_head);
        pass(&body, n - of_head);
        sent += n;
    }
    return (ssize_t)sent;
}

uint32_t tls_came(const struct tls *t) {
    return t->came;
}

uint32_t tls_went(const struct tls *t) {
    return t->went;
}

int tls_close(struct tls *t) {
    if (t->broken || !t->done) return 0;
    begin(t);
    int result = SSL_shutdown(t->ssl);
    if (result >= 0) return 0;
    int err = result_of(t, result);
    return err == -EAGAIN && t->wants_write ? err : 0;
}
