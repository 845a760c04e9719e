/* Over TLS; see secure.h. */
#include "serve/io/secure.h"

#include "serve/io/output.h"
#include "serve/io/worker.h"

/* What the peer sends that is no data counts too where it was not asked for anything: key
 * updates have no other end. */
ssize_t secure_read(struct conn *c, char *bytes, size_t n) {
    ssize_t got = tls_read(conn_tls(c), bytes, n);
    if (got == -EAGAIN && c->phase == CONN_STREAM) conn_pass(c, tls_came(conn_tls(c)));
    return got;
}

/* The kernel takes records in part, and holds more bytes than were ours. */
ssize_t secure_send(struct conn *c, struct slice head, struct slice body) {
    ssize_t n = tls_write(conn_tls(c), head, body);
    uint32_t went = tls_went(conn_tls(c));
    if (went > 0) output_note_taken(c);
    c->held += went - (n > 0 ? (uint32_t)n : 0); /* those n are added by who sent them */
    return n;
}

bool secure_wants_write(const struct conn *c) {
    return tls_wants(conn_tls(c)) == TLS_WANTS_WRITE;
}

bool secure_close(struct conn *c) {
    return tls_close(conn_tls(c)) == 0;
}
