/* A body that the app takes in pieces, while it comes.
 *
 *     socket -> talk->in (16 KiB ahead) -> piece (64 KiB), one at a time -> the app
 *                    ^                        |
 *                    '--- want: one at a time, when the handler asks for more
 *
 * The request goes to the app as soon as its head is read; the connection waits for the answer
 * (CONN_WAIT) and reads on only as far as the app asks. So what one request holds is bounded by
 * INPUT_BYTES_MAX and PIECE_BYTES_MAX, and a client that sends faster than the app takes waits in
 * its kernel. Two clocks: while the app waits the client has to send, while it does not the app
 * has to go on. Until the body is read the connection is one that closes with the answer.
 * [the worker's thread] */
#ifndef SLUICE_SERVE_IO_UPLOAD_H
#define SLUICE_SERVE_IO_UPLOAD_H

#include "net/http_parse.h"
#include "serve/io/conn.h"

/* The head of a request with such a body was read. 0, or the status to refuse it with. */
int upload_begin(struct conn *c, const struct http_head *head);

/* Its request, or what is left of it, is being refused or answered: the connection is one that
 * closes, and the client may send a while yet, so that it reads the answer. */
void upload_leave(struct conn *c);

/* Whether it reads one that is not over. */
bool upload_is_open(const struct conn *c);

/* How many bytes more it may receive. */
size_t upload_room(const struct conn *c);

/* Give the app what it waits for, as far as it is there. */
void upload_feed(struct conn *c);

/* When the client is late, or the app: INT64_MAX while it is the other's turn. */
int64_t upload_due_ms(const struct conn *c);
int64_t upload_app_due_ms(const struct conn *c);

/* The client is late. */
void upload_on_late(struct conn *c);

#endif
