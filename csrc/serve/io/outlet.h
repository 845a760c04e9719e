/* An outlet: where a stream of the fan meets its socket.
 *
 * It sends blocks with one send() each, pins the block that a full socket took in part,
 * beats the heart when nothing else was sent, and ends the stream: also when the time of
 * its user is over, which the app need not say. The head of the response leaves in the same
 * call as the first block. [the worker's thread] */
#ifndef SLUICE_SERVE_IO_OUTLET_H
#define SLUICE_SERVE_IO_OUTLET_H

#include "fan/fan.h"
#include "serve/client.h"

#include <sys/types.h>

struct conn;
struct request;

/* Part of a conn. */
struct outlet {
    struct client *client; /* NULL: a late head without a plan yet */
    struct block *pinned;  /* partly sent */
    uint32_t pinned_sent;
    uint32_t unacked;      /* bytes of client:send that are not with the kernel yet */
    uint32_t heartbeat_ms; /* 0: none */
    uint32_t bye_at_ms;    /* of a drain, as conn->tx_ms; 0: none */
    struct stream stream;
    int64_t opened_ms;
    double expires; /* as in its plan */
};

extern const struct fan_ops outlet_ops;

/* Answer a request with a stream. 'plan' may be NULL: a late head, to be followed by
 * outlet_plan. Shares client and plan. 0 or a negative code: then nothing was sent. */
int outlet_open(struct conn *c, struct request *r, struct plan *plan,
                struct client *client);
int outlet_plan(struct outlet *o, struct request *r, struct plan *plan,
                struct client *client);

/* A stream that must end before it began: head, bye, end. */
void outlet_refuse(struct conn *c, struct request *r, const struct bye *bye);

/* After a late head: its plain stream cannot go on where the client was. */
void outlet_break(struct conn *c);

/* What of the block that its socket took in part is not out. */
struct slice outlet_rest(const struct outlet *o);

/* Bytes that are meant for it alone or that its socket took only in part. */
size_t outlet_unsent(const struct outlet *o);

void outlet_writable(struct outlet *o);
void outlet_on_result(struct outlet *o, ssize_t n); /* of a write that was queued */
void outlet_on_timer(struct outlet *o);
void outlet_drain(struct outlet *o, int64_t window_ms);

/* ---- For poll.c too ----------------------------------------------------------------- */

/* Open its stream, which is initialised, with this plan. 0 or a negative code. */
int outlet_begin(struct outlet *o, struct request *r, struct plan *plan,
                 struct client *client, bool preamble_out);

/* An end was queued: that of a client that polls goes into its next answer. */
void outlet_on_end(struct outlet *o);

/* A channel was taken from it by right: what was given of it is not given again. */
void outlet_on_deny(struct outlet *o);

/* When it is looked at next. */
void outlet_schedule(struct conn *c);

/* What client:send gave has gone out. */
void outlet_acknowledge(struct outlet *o);

/* The connection is gone: notify the app. */
void outlet_close(struct outlet *o);

#endif
