/* A request that needs the app: it crosses to the app thread and its answer comes back.
 *
 * Who may act is decided by one word. The I/O thread queues it (see queue.h); either the app takes it
 * (queued -> taken) or the I/O thread gives up first (queued -> cancelled), and then it
 * is certain that no handler ran. Every message and every holder has a reference. What
 * the client sent is immutable once it is posted. */
#ifndef SLUICE_SERVE_REQUEST_H
#define SLUICE_SERVE_REQUEST_H

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "fan/eventid.h"
#include "fan/form.h"
#include "net/address.h"
#include "net/http_chunks.h"
#include "net/http_write.h"
#include "run/mailbox.h"
#include "serve/routes.h"
#include "serve/trace.h"

#include <netinet/in.h>
#include <stdatomic.h>

struct conn;
struct lane;
struct client;

enum request_state { REQUEST_QUEUED, REQUEST_TAKEN, REQUEST_CANCELLED };
enum reply_kind { REPLY_NONE, REPLY_ANSWER, REPLY_FILE, REPLY_STREAM };

/* Whether a stream is asked for answer by answer, and in which form. */
enum poll_kind { POLL_NO, POLL_TEXT, POLL_JSON };

#define IP_TEXT_MAX ADDRESS_TEXT_MAX

/* A part of a body; or instead what is wrong with it. */
struct piece {
    struct buf bytes;
    bool last;  /* nothing comes behind it */
    int status; /* 0: nothing is wrong */
};

/* A body that the app takes in pieces. The app asks for one (want), the I/O thread answers
 * with what there is (given): each message is under way once at most, and a reference to the
 * request travels with it. See io/upload.h. */
struct upload {
    struct request *request;
    struct message want, given;
    struct piece piece; /* [io] until it is posted, then [app] until it asks again */
    bool asked, all;    /* [app] for a piece; the last one has come */

    bool wanted;                  /* [io] the app waits */
    bool over;                    /* [io] it has all, or the status */
    bool continues;               /* [io] the client waits for 100 before it sends */
    int64_t wanted_ms, waited_ms; /* [io] since when; and before, all together */
    int64_t posted_ms;            /* [io] when the app got the last piece; 0: none yet */
    uint64_t received;            /* [io] bytes */
};

struct request {
    atomic_uint refs;
    atomic_int state;
    struct message to_app, cancel, to_io;
    struct lane *lane;
    struct conn *conn;    /* [io] NULL: the client is gone */
    struct list waits;    /* [io] in the lane's queue, while there is no room */
    bool cancel_posted;   /* [io] */
    struct map_node node; /* [app] in server->requests, by id */
    uint64_t id;          /* [app] */
    int64_t taken_ms; /* when the app took it; [app] writes it before the state says so */

    struct routes *routes; /* that it was found in */
    const struct route *route;
    struct static_file *file;
    struct buf bytes; /* the head as sent; the slices below borrow from it */
    struct slice method, query, host;
    struct http_field *fields;
    unsigned n_fields;
    char *path; /* decoded; the captures borrow from it */
    size_t path_n;
    struct capture params[PATTERN_CAPTURES_MAX];
    int n_params;
    struct buf body;
    struct upload *upload;      /* instead, when the app takes it in pieces */
    struct http_chunks *chunks; /* [io] while a chunked body is read */
    uint64_t body_left;         /* [io] of a body with a length */
    int refused;                /* [io] status to answer when it is read; 0: none */
    struct http_field cors[ORIGIN_FIELDS_MAX]; /* on its answer, whatever that is */
    size_t n_cors;
    struct eventid last_id;
    char ip[IP_TEXT_MAX];
    char trace[TRACE_MAX]; /* empty: not wanted */
    int minor;             /* of HTTP/1, or HTTP_2 */
    bool keep_alive, is_head;
    bool secure;           /* came over TLS, to us or to a trusted proxy */
    uint8_t polls;         /* enum poll_kind */
    bool unnamed, pads;    /* ?named=0, ?padding=true */
    bool again;            /* a poll of a client that is known: 'client' is that one */
    bool judged;           /* [io] all that a cluster can say of its id is known */
    bool is_cut;           /* refused before all of its fields were read */
    atomic_bool has_place; /* as admission.h counts */
    bool has_no_place;     /* its address has all that it may */
    unsigned wait_s;   /* it is over a limit of its address: until when; 0: it is not */
    const char *limit; /* which one refused it, as limits.h names it; NULL: none */
    uint32_t most;     /* ... and what that allowed */

    enum reply_kind reply; /* [app] until it is posted back, then [io] */
    int status;
    bool closes;       /* the answer says that the connection closes */
    struct buf answer; /* the whole answer, ready to send */
    struct plan *plan;
    struct client *client;
    struct client *held; /* of a poll: who its token names, not yet who asks; NULL */
};

struct request *request_new(void); /* owned, one reference */
struct request *request_ref(struct request *r);
void request_unref(struct request *r); /* NULL is fine */

/* Once path, fields and routes are there: what lets the page that asks read any answer. Of
 * a head that is cut the Origin may be unknown: the only one that may read is named, which
 * no page of another takes for its own. */
void request_find_cors(struct request *r);

/* Whether the app takes its body in pieces, if it has one. */
bool request_in_pieces(const struct request *r);

/* Whether it is answered with a stream, and so are refusals. */
bool request_streams(const struct request *r);

/* Which form of a stream it accepts: that becomes 'polls', and its query 'pads'. A poll is one
 * that asks for it (?mode=poll), or accepts nothing but JSON. False: none. */
bool request_find_form(struct request *r);

/* Whether its events have names: 'unnamed'. False: the query says neither 0 nor 1. */
bool request_find_names(struct request *r);
/* Whether what answers it is a client of the app: a stream, or a feed that is read live. */
bool request_opens_client(const struct request *r);
/* That client, new. Owned; 'user' and 'written' as in client.h. */
struct client *request_client(const struct request *r, const char *user, bool written);

/* The form of its stream. Compressed: with the coding that it wants most of those of its route, zstd
 * of equals. */
enum form_id request_form(const struct request *r);

/* ... when it opens without its plan: not compressed. */
enum form_id request_plain_form(const struct request *r);

/* The fields in the head of that stream that say so: how many, of two. */
size_t request_form_fields(const struct request *r, enum form_id form,
                           struct http_field *out);

/* How to write an answer to it now; the connection may still want to close. */
struct http_to request_to(const struct request *r, struct http_date *date, int64_t now);

/* What the client sent, for the readers of net/http_field.h. */
struct http_fields request_fields(const struct request *r);

/* The client as a trusted proxy gives it: the last address of X-Forwarded-For, which the proxy
 * itself has added, and whether the last scheme of X-Forwarded-Proto is https. What is no address, or
 * is not there, leaves what is known of the peer. */
void request_take_forwarded(struct request *r);

#endif
