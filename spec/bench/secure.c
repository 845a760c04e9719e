/* Sessions by descriptor; see secure.h. Buffers stay: to release and allocate them for each record costs, and the
 * baseline shall be the cheapest there is. */
#include "secure.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define DESCRIPTORS 65536

static SSL_CTX *context;
static SSL *sessions[DESCRIPTORS];
static bool serves;

static void fail(const char *what) {
    fprintf(stderr, "%s: ", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

void secure_start(const char *certificate, const char *key) {
    signal(SIGPIPE, SIG_IGN);
    serves = certificate != NULL;
    context = SSL_CTX_new(serves ? TLS_server_method() : TLS_client_method());
    if (!context) fail("TLS");
    SSL_CTX_set_mode(context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 1);
    if (!serves) return;
    if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
        fail("TLS certificate");
}

void secure_want_h2(void) {
    if (SSL_CTX_set_alpn_protos(context, (const unsigned char *)"\2h2", 3) != 0)
        fail("ALPN");
}

static bool go_on(SSL *s, int fd, int result) {
    const int why = SSL_get_error(s, result);
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) return false;
    struct pollfd p = {.fd = fd, .events = why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT};
    return poll(&p, 1, 10000) > 0;
}

bool secure_shake(int fd) {
    SSL *s = fd < DESCRIPTORS ? SSL_new(context) : NULL;
    if (!s || SSL_set_fd(s, fd) != 1) fail("TLS session");
    if (serves) SSL_set_accept_state(s);
    else SSL_set_connect_state(s);
    sessions[fd] = s;
    for (int result; (result = SSL_do_handshake(s)) != 1;)
        if (!go_on(s, fd, result)) return false;
    return true;
}

void secure_end(int fd) {
    if (fd < 0 || fd >= DESCRIPTORS) return;
    SSL_free(sessions[fd]);
    sessions[fd] = NULL;
}

bool secure_is(int fd) {
    return sessions[fd] != NULL;
}

ssize_t secure_send(int fd, const char *p, size_t n) {
    const int sent = SSL_write(sessions[fd], p, (int)n);
    return sent > 0 ? sent : -1;
}

ssize_t secure_recv(int fd, char *p, size_t n) {
    ERR_clear_error();
    const int got = SSL_read(sessions[fd], p, (int)n);
    if (got > 0) return got;
    const int why = SSL_get_error(sessions[fd], got);
    errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
    return why == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}
