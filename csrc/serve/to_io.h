/* Messages from the app to the I/O threads: how they are posted, and what takes them.
 *
 * The handlers run on the thread that is addressed and stand in serve/io; only the functions
 * here name them. What all threads get at one place of the order of events goes through
 * the sequencer, what is for one client or request straight to its lane. */
#ifndef SLUICE_SERVE_TO_IO_H
#define SLUICE_SERVE_TO_IO_H

#include "fan/stream.h"
#include "serve/client.h"
#include "serve/conversion.h"
#include "serve/hub.h"
#include "serve/question.h"
#include "serve/request.h"

/* ---- To every thread [app] ---------------------------------------------------------- */

enum io_command_kind { IO_TRIM, IO_DROP, IO_CONFIGURE, IO_CONVERT };

struct io_command {
    struct message message;
    enum io_command_kind kind;
    uint64_t seq;
    enum lost_by by; /* of IO_TRIM */
    struct routes *routes;
    struct policy_set *policies; /* NULL: as they are */
    struct conversion *conversion;
    const struct fan_history *history; /* of IO_CONVERT: from now on there are pages */
    struct slice channel;
    char name[];
};

/* A copy for each of them, in the order of events (shares routes and policies; copies the
 * name). Returns what the app's replica has to take in before (see seq_post). */
struct message *to_io_all(struct hub *hub, const struct io_command *what);

/* A command for one of them, to be posted (shares what it has; copies the name). */
struct message *to_io_command(const struct io_command *what);

/* ---- To the thread of one client or request [app] ----------------------------------- */

/* The table's reference travels with it. */
void to_io_reply(struct request *r, enum reply_kind kind);

/* The app waits for the next piece of the body; one at a time (shares). */
void to_io_want(struct request *r);

/* There is room for requests that wait. */
void to_io_room(struct lane *lane);

enum client_op {
    CLIENT_SUBSCRIBE,
    CLIENT_UNSUBSCRIBE,
    CLIENT_DENY,
    CLIENT_SET,
    CLIENT_SEND,
    CLIENT_END
};

struct client_message {
    struct message message;
    enum client_op op;
    struct client *client;
    struct plan *plan;  /* of one spec: the channel and its options, or the filters */
    struct bye bye;     /* of CLIENT_END; its word is 'words' */
    struct slice words; /* the text of an event */
    char text[];
};

/* What concerns a subscription (shares the plan). */
void to_io_client(struct client *c, enum client_op op, struct plan *plan);
/* An event's text, and the end; both copy. 0 or E_NOMEM. */
int to_io_send(struct client *c, struct slice text);
int to_io_end(struct client *c, const struct bye *bye);

/* Ask a thread (takes); the answer comes by to_app_told. */
void to_io_question(struct question *q);

/* ---- To one thread [any thread] ----------------------------------------------------- */

struct drain_message {
    struct message message;
    int64_t window_ms; /* < 0: at once */
    bool stuck;        /* the app does not answer: the process ends END_STUCK_MS later */
};

/* End all streams over a window (< 0: at once) and stop. 'stuck': the app does not answer,
 * which puts off the end of the process. */
void to_io_drain(struct lane *lane, int64_t window_ms, bool stuck);
void to_io_drain_all(struct hub *hub, int64_t window_ms, bool stuck);

/* ---- Taking: in serve/io [io] ------------------------------------------------------- */

message_fn io_on_page; /* inbox.c; a page of a durable log */
message_fn io_on_frame, io_on_command, io_on_reply, io_on_client; /* inbox.c */
message_fn io_on_drain;                                           /* worker.c */
message_fn io_on_question;                                        /* explain.c */
message_fn io_on_room;                                            /* serve/queue.c */
message_fn io_on_want;                                            /* upload.c */
message_fn io_on_cluster, io_on_followed, io_on_judged;           /* follow.c */

#endif
