/* The server as the app thread sees it: requests come, clients come and go, events are
 * published.
 *
 * One thread, the one that made the server, runs the app's loop; the workers run theirs.
 * Everything that crosses is a message in a mailbox. The app holds a fan of its own,
 * without streams, that gets every command at the moment it is given: it answers
 * app:latest and app:history and decides when events are too old. */
#ifndef SLUICE_SERVE_APP_SERVER_H
#define SLUICE_SERVE_APP_SERVER_H

#include "base/notes.h"
#include "fan/fan.h"
#include "fan/tally.h"
#include "net/http_write.h"
#include "serve/app/budgets.h"
#include "serve/app/groups.h"
#include "serve/app/lag.h"
#include "serve/app/tickets.h"
#include "serve/hub.h"
#include "serve/to_app.h"

struct worker;
struct durable;
struct certificates;
struct top;
struct answer;
struct notice_message;

/* What happens to the app; called on its thread, from server_run. */
struct server_events {
    void (*on_request)(void *context,
                       struct request *r); /* take r->id, not the pointer */
    void (*on_cancel)(void *context, uint64_t id);
    void (*on_piece)(void *context, uint64_t id, const struct piece *p); /* server_want */
    void (*on_open)(void *context, struct client *c);
    /* It is in no count any more; its topics are those that it followed. */
    void (*on_close)(void *context, struct client *c, const char *reason);
    void (*on_writable)(void *context, struct client *c);
    void (*on_timer)(void *context);
    void (*on_signal)(void *context, int number);
    void (*on_changed)(void *context, const char *path);      /* a watched file */
    void (*on_answer)(void *context, const struct answer *a); /* see durable.h */
    /* The channel of a publish with an idempotency key, or of an update, became one in memory
     * before its turn came. True: the ticket has its answer; it is not published. */
    bool (*on_moved)(void *context, uint64_t ticket);
    void (*on_stopping)(void *context); /* drain begins: the stop hooks */
    /* All streams have ended. True: server_leave will be called; else all ends now. */
    bool (*on_drained)(void *context);
    /* What channels are for a publisher has changed, or is about to; 'busy': they cannot be
     * changed again yet (E_BUSY). */
    void (*on_policies)(void *context, bool busy);
    /* A channel is over its budget of bytes, or no more. */
    void (*on_budget)(void *context, struct slice channel, const struct budget_state *b);
    /* In a cluster: it is live, or no longer; another epoch has begun; it leads (a token), or no
     * more (0). */
    void (*on_cluster)(void *context, bool is_live, const char *epoch, uint64_t lead);
    /* ... what a node has told all; name.n is 0: some were missed. See serve/cluster.h. */
    void (*on_notice)(void *context, const struct notice_message *m);
    /* What one I/O thread answers to server_ask: lines of JSON. */
    void (*on_told)(void *context, uint64_t ticket, struct slice lines);
};

/* How many subscribers a channel has over all threads. */
struct topic {
    struct map_node node;   /* in server->topics; key: the name */
    struct group *group;    /* NULL: not looked for yet */
    uint32_t group_version; /* of the groups that it was found in */
    uint32_t subscribers;
    uint32_t refs; /* subscribers, and those whose leaving is being reported */
    uint16_t name_n;
    char name[];
};

static inline struct slice topic_name(const struct topic *t) {
    return slice_of(t->name, t->name_n);
}

/* What did not succeed when server_start failed. */
enum start_step {
    START_LISTEN,
    START_METRICS,
    START_AGENT,
    START_TLS,
    START_CONTROL,
    START_STORE,
    START_CLUSTER,
    START_RING,
    START_THREADS
};

struct server {
    struct loop loop;
    struct hub hub;
    struct worker *workers; /* as many as the hub has lanes */
    unsigned finished;
    struct fan fan;
    struct routes *routes;
    struct map requests, clients, topics, accounts;
    struct map hidden; /* clients that are not the app's: nobody walks over them */
    uint64_t hidden_events, hidden_bytes; /* that those were sent who have left */
    struct pools topic_pools;             /* what topics stand in */
    uint64_t next_request, next_question;
    struct ev_timer wake, sweep, hooks;
    struct ev_prepare before_sleep;
    double wake_at; /* in a rehearsal, instead of the timer; < 0: none */
    size_t swept;   /* bucket where the sweep goes on */
    uint64_t requests_seen, requests_freed; /* of all workers: at the last sweep, trim */
    struct http_date date;
    const struct server_events *events;
    void *context;
    uint16_t port, metrics_port, tls_port, agent_port; /* the others: 0 without them */
    struct certificates *certificates;                 /* NULL: no TLS */
    struct watched **watched;                          /* see watch.h */
    size_t n_watched;
    uint64_t published, published_bytes;
    struct tally_counts counted; /* by all workers; see accounts.h */
    struct groups groups;        /* the same by pattern, and what was published */
    struct budgets budgets;      /* of channels, in bytes */
    size_t held;                 /* bytes of events in all channels; see memory.h */
    int64_t memory_logged_ms;
    struct app_lag lag;
    int64_t swept_ms;
    struct durable *durable;       /* NULL: no store is open */
    struct tickets shared_tickets; /* of publishes and reads in a cluster */
    struct list shared_wants;      /* reads that wait, the oldest first */
    struct top *top;               /* NULL: nobody asks who was sent most */
    enum start_step failed;
    bool running;
};

/* ---- Life [app] --------------------------------------------------------------------- */

/* Takes the options, also on failure. */
int server_new(struct server **out, struct serve_options *options,
               const struct server_events *events, void *context);
/* Bind and start the threads: 0, E_ADDRESS or a negative errno, and 'failed' says at what;
 * then it is as before, and may be tried again. */
int server_start(struct server *s);
const char *server_problem(const struct server *s, int err); /* why it failed */
void server_run(struct server *s);                           /* until drained */
void server_leave(struct server *s);                         /* ends server_run */
/* The stop hooks get their chance (on_stopping), then the streams are drained: when
 * server_drain is called, or after STOP_HOOKS_MS. Both are idempotent. */
void server_stop(struct server *s);
void server_drain(struct server *s);
void server_free(struct server *s); /* takes; a running one is stopped hard */

/* The time of the next on_timer, in monotonic seconds; < 0: none. */
void server_wake_at(struct server *s, double at);

/* What a version of the app is. */
struct configuration {
    struct routes *routes;
    struct policy_set *policies;
    bool news; /* see server_want_news */
};

/* Install it at one place of the order of events (shares both). 0 with *ticket 0; or with a
 * ticket: what is durable changes, the store is asked, and on_answer says whether it has come
 * into force. Else nothing happened: E_BUSY, E_CLOSED, E_NOMEM (see durable_convert). */
int server_configure(struct server *s, const struct configuration *wanted,
                     uint64_t *ticket);
void server_install(struct server *s, const struct configuration *wanted); /* at once */

/* ---- Requests [app] ----------------------------------------------------------------- */

map_key_fn server_request_key; /* of server->requests */

struct request *server_find_request(const struct server *s,
                                    uint64_t id); /* borrows; NULL */

/* Ask for the next piece of its body: 0, and on_piece follows, unless on_cancel does or the
 * request is answered first. E_CLOSED: the client has gone, or has its answer. E_NOTFOUND: there
 * is none. E_BUSY: the last one has not come. */
int server_want(struct server *s, uint64_t id);

/* Whether its connection stays when it is answered now: not behind a body that was not read. */
bool server_keeps_alive(const struct request *r);

struct accept_as {
    const char *user;  /* copied; NULL: none */
    bool close_wanted; /* its end is reported whatever server_want_news said */
    bool written;      /* by its function */
    bool hidden; /* the server's own page: it is counted nowhere, and has no limit */
};

/* Answer it: with the bytes in r->answer and r->status, without any with r->file, or with a
 * stream. The request leaves the table and is the I/O thread's. server_accept returns the client
 * (shared) in *out; E_RATE when its user or address has too many, and the request stays;
 * E_CLOSED for HEAD, which is answered and has no client; ACCEPT_AGAIN when it is a client
 * that polls again, which was registered before. server_claim answers a poll of a client
 * whose function writes it, without a run of that function: 'plan' has no channels; E_NOTFOUND, and
 * the request stays, when this user has no such client. */
#define ACCEPT_AGAIN 1
void server_answer(struct server *s, struct request *r);
int server_accept(struct server *s, struct request *r, struct plan *plan,
                  struct accept_as as, struct client **out);
int server_claim(struct server *s, struct request *r, struct plan *plan,
                 const char *user);

/* ---- Events [app] ------------------------------------------------------------------- */

struct published {
    uint64_t seq;
    bool has_id;
    uint32_t subscribers;
};

/* 0, E_CHANNEL, E_BADFIELD, E_TOOBIG, E_KEY, E_FULL, E_BUSY, E_NOMEM. */
int server_publish(struct server *s, const struct event *event, struct published *out);

/* Different users, and of clients without one different addresses. */
uint32_t server_active_users(const struct server *s);

/* Check an event of a channel and encode it, for so many mailboxes (returns owned; *c is
 * borrowed). What server_publish refuses, but E_BUSY. */
int server_encode(struct server *s, const struct event *event, unsigned posts,
                  struct chan **c, struct frame **out);

/* Publish an encoded event of a channel (NULL: it is not known yet) that is not durable
 * (shares). 0 or E_BUSY; or 1: it may be another kind of channel now, encode it again. */
int server_post(struct server *s, const struct chan *c, struct frame *f);

/* Let the app's replica take in what others released: a chain of the sequencer's. */
void server_take_in(struct server *s, struct message *own);

uint32_t server_subscribers(const struct server *s, struct slice channel);

/* ---- Questions [app] ---------------------------------------------------------------- */

/* Ask every I/O thread how a client (NULL: none) and a channel (empty: none) stand, and for
 * what it noted (its value empty: nothing). Returns a ticket: on_told comes with it once for each
 * thread. */
uint64_t server_ask(struct server *s, struct client *c, struct slice channel,
                    const struct notes_wanted *wanted);

/* ---- Clients [app] ------------------------------------------------------------------ */

/* Whether on_open and on_close are wanted; at first they are. Without, a stream that comes
 * or goes does not even wake the app's thread: see 'deferred' in hub.h. From the call on, all that come
 * and go are reported (or not); those that are open stay as they are. */
void server_want_news(struct server *s, bool wanted);

/* Take the deferred news: what is about to look at the clients calls it, and
 * sees what the workers know. Never calls on_open or on_close. */
void server_catch_up(struct server *s);

struct client *server_find_client(const struct server *s, struct slice id); /* NULL */
struct client *server_find_hidden(const struct server *s, struct slice id); /* NULL */

/* 0, E_CHANNEL, E_FULL, E_NOMEM; *is_new is false when it is followed already. */
int server_subscribe(struct server *s, struct client *c, const struct sub_spec *spec,
                     bool *is_new);
bool server_unsubscribe(struct server *s, struct client *c, struct slice channel,
                        bool denied);
int server_set(struct client *c, const struct sub_spec *wanted);

/* To this client alone (copies). 0, E_BADFIELD, E_TOOBIG, E_NOMEM; E_FULL: later,
 * on_writable says when. */
int server_send(struct client *c, const struct event *event);

/* End a stream. 'word' (NULL: none) is an event that goes before the bye. 0, E_BADFIELD,
 * E_TOOBIG, E_NOMEM: then the stream goes on. */
int server_close(struct client *c, enum end_reason reason, int status,
                 const struct event *word);

#endif
