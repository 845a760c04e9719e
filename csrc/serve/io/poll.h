/* Long-polls: a stream whose client asks for it again and again.
 *
 *     poll 1                      poll 2            ...
 *     |-- waits --| answer        |-- waits --| answer
 *     \___________ one client, one stream of the fan: the home ___________/
 *
 * The stream lives in a home, a connection without a socket, on the thread where its first poll
 * came; the token of an answer (poll_token.h) leads the next poll there, with its connection. While
 * a poll waits its events are gathered into the body of its answer, which goes out at the end of the
 * turn that brought one; between two polls the stream is blocked like one whose socket is full, and
 * its cursor stands. An answer is kept until the next poll shows that it has arrived: one that was
 * lost is asked for with the token and the id before it, and is given again. A client with another
 * id was cut in the middle: its stream is opened anew where it is, or one that has ended gives the
 * rest of that answer. An answer is not kept over the loss of a right.
 *
 * A home that nobody polls ends after POLL_GRACE_MS, the oldest before when there are too many of
 * them. [the worker's thread] */
#ifndef SLUICE_SERVE_IO_POLL_H
#define SLUICE_SERVE_IO_POLL_H

#include "serve/io/conn.h"

struct poll;

map_key_fn poll_key; /* of worker->polls */

/* Before anybody is asked for a plan: a poll of a client of another thread goes there with its
 * connection; true: nothing is left to do here. Else r->held is the client that its token names:
 * nobody knows yet who asks. */
bool poll_lead(struct conn *c, struct request *r);

/* The client that polls with this plan, which is a route's own: the one that its token is of,
 * or a new one. Owned. */
struct client *poll_client(const struct conn *c, struct request *r, const struct plan *p);

/* Its plan has come: it waits from now on. 0; or a negative code, and then the client is new and
 * the request is to be refused. */
int poll_take(struct conn *c, struct request *r, struct plan *plan,
              struct client *client);

/* Answer at once: a bye; or nothing, without a reason, for a client that is not known. */
void poll_refuse(struct conn *c, struct request *r, const struct bye *why);

/* The head of an answer, for HEAD. 0 or E_NOMEM. */
int poll_head(struct conn *c, const struct request *r);

/* The connection that waits for an answer is closed. */
void poll_leave(struct conn *c);

/* At the end of a turn: give the answers that are ready. True when streams became ready. */
bool poll_give(struct worker *w);

/* ---- The home, for outlet.c and conn.c ---------------------------------------------- */

enum fan_sent poll_send(struct conn *home, struct block *b); /* takes it */
bool poll_take_back(struct conn *home);
void poll_on_end(struct conn *home);  /* an end was queued */
void poll_on_deny(struct conn *home); /* a channel was taken from it */
int64_t poll_due_in(const struct conn *home);
void poll_on_timer(struct conn *home);
void poll_drain(struct conn *home, int64_t window_ms);
void poll_free(struct conn *home); /* doomed */

#endif
