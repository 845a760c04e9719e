/* A question to an I/O thread: what it knows of a client or a channel, for whoever asks why.
 *
 * One for each thread, since a client comes back on any of them and each has its own recorder
 * (io/flight.h). The answer is lines of JSON, the recorded ones as they were written. [app] makes
 * it and gets it back; the I/O thread has it in between. */
#ifndef SLUICE_SERVE_QUESTION_H
#define SLUICE_SERVE_QUESTION_H

#include "base/buf.h"
#include "run/mailbox.h"
#include "serve/hub.h"

struct client;

struct question {
    struct message message;
    struct lane *lane;
    uint64_t ticket;
    struct client *client; /* of this thread, and open: how it stands; NULL */
    struct slice channel;  /* how it stands on this thread; empty: none is asked for */
    struct slice wanted;   /* recorded lines with this text in them; empty: none */
    struct buf answer;
    char text[]; /* both */
};

/* Copies the texts, shares the client. Owned. [app] */
struct question *question_new(struct lane *lane, uint64_t ticket, struct client *client,
                              struct slice channel, struct slice wanted);
void question_free(struct question *q);

#endif
