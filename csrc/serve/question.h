/* A question to an I/O thread: what it knows of a client or a channel, for whoever asks why.
 *
 * One for each thread, since a client comes back on any of them and each has its own recorder
 * (io/flight.h). The answer is lines of JSON. [app] makes
 * it and gets it back; the I/O thread has it in between. */
#ifndef SLUICE_SERVE_QUESTION_H
#define SLUICE_SERVE_QUESTION_H

#include "base/buf.h"
#include "base/notes.h"
#include "run/mailbox.h"
#include "serve/hub.h"

struct client;

struct question {
    struct message message;
    struct lane *lane;
    uint64_t ticket;
    struct client *client; /* of this thread, and open: how it stands; NULL */
    struct slice channel;  /* how it stands on this thread; empty: none is asked for */
    struct notes_wanted wanted; /* of what it noted; value empty: nothing */
    struct buf answer;
    char text[]; /* all of them */
};

/* Copies the texts, shares the client. Owned. [app] */
struct question *question_new(struct lane *lane, uint64_t ticket, struct client *client,
                              struct slice channel, const struct notes_wanted *wanted);
void question_free(struct question *q);

#endif
