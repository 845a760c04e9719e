/* Messages from the I/O threads to the app: how they are posted, and what takes them.
 *
 * The handlers run on the app's thread and stand in serve/app; only the functions here name
 * them. A message lives in the object that it is about, but for signals, which are rare. */
#ifndef SLUICE_SERVE_TO_APP_H
#define SLUICE_SERVE_TO_APP_H

#include "serve/client.h"
#include "serve/hub.h"
#include "serve/question.h"
#include "serve/request.h"

/* ---- Posting [io] ------------------------------------------------------------------- */

void to_app_request(struct request *r); /* shares */
void to_app_cancel(struct request *r);  /* once; shares */
void to_app_piece(struct request *r);   /* of its body; takes the reference of the want */

/* News of a client. The app knows already what it accepted itself. */
void to_app_opened(struct client *c, struct plan *plan);      /* shares */
void to_app_closed(struct client *c, enum end_reason reason); /* NULL client: fine */
void to_app_sent(struct client *c, uint32_t bytes);           /* of client:send */

void to_app_report(struct lane *lane, struct report *r); /* takes */
void to_app_told(struct question *q);                    /* with its answer; takes */
void to_app_signal(struct hub *hub, int number);
void to_app_finished(struct lane *lane);

/* Whether the end of a client is reported. [any thread] */
bool to_app_wants_close(const struct hub *hub, const struct client *c);

/* ---- Taking: in serve/app [app] ----------------------------------------------------- */

struct signal_message {
    struct message message;
    int number;
};

message_fn app_on_frame;  /* server_events.c; from the sequencer */
message_fn app_on_stored; /* durable.c; from the store */
message_fn app_on_cluster, app_on_published, app_on_wanted, app_on_standing,
    app_on_notice;                         /* shared.c; from the cluster */
message_fn app_on_request, app_on_cancel;  /* server_requests.c */
message_fn app_on_piece;                   /* server_requests.c */
message_fn app_on_news, app_on_deferred;   /* server_clients.c */
message_fn app_on_report;                  /* accounts.c */
message_fn app_on_told;                    /* server_questions.c */
message_fn app_on_signal, app_on_finished; /* server.c */

#endif
