/* HTTP/2 on one connection, the server's side (RFC 9113), on nghttp2. Bytes in, bytes out: no socket.
 *
 *     h2_receive --> begin, data, end --> an exchange of the caller
 *     h2_write   <-- size, pull       <-- what it has to send now
 *
 * A request's head is given as the text of HTTP/1.1 that says the same, and an answer's head is
 * taken as such text: so one parser and one writer hold the rules for both versions.
 *
 * nghttp2 has heads, ends and all that is said about streams; frames of data are written beside it, for they
 * are what a stream consists of: data is pulled from the exchange when the windows of the stream and of the
 * connection have room, and copied once, behind its frame's header, into what is written next. Frames of all
 * streams leave together, in turn.
 *
 * Bounds: 128 streams, HTTP_HEAD_MAX of a head, H2_RESETS_MAX resets and H2_USELESS_MAX frames without
 * use in H2_FLOOD_MS: then GOAWAY with ENHANCE_YOUR_CALM. Priorities are ignored: streams take turns.
 * Without nghttp2 at build time there is none of it: h2_new returns NULL. [one thread] */
#ifndef SLUICE_NET_H2_H
#define SLUICE_NET_H2_H

#include "base/buf.h"
#include "base/list.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define H2_WRITE_BYTES 16384 /* of one h2_write: a record of TLS */

#define H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

/* One stream, a part of the caller's exchange. */
struct h2_stream {
    struct list node;  /* among those of the session */
    struct list ready; /* it has something to send, and waits for its turn */
    int32_t id;
    uint8_t heads;  /* of its answer that are told, and not out */
    bool answered;  /* the one that is not 1xx is told */
    bool open;      /* ... and out */
    bool over;      /* the end is told */
    int64_t window; /* bytes that the client takes; below 0 when it has taken back some */
};

struct h2;

/* What the caller does. None of these may call h2_receive or h2_write. */
struct h2_ops {
    /* A request: its head as text (takes). 'body' says that bytes may follow. Its exchange's stream, after
     * h2_stream_init; NULL: refused. Then it goes on. */
    struct h2_stream *(*begin)(void *owner, struct buf *head, bool body);
    void (*go_on)(struct h2_stream *s);
    /* False: it has no memory for them, and is reset. */
    bool (*data)(struct h2_stream *s, struct slice bytes);
    void (*end)(struct h2_stream *s); /* of its body */

    /* How many bytes it has to send now; *last: the body ends behind them. */
    size_t (*size)(const struct h2_stream *s, bool *last);
    /* These, from where it is. */
    void (*pull)(struct h2_stream *s, char *to, size_t n, bool last);

    void (*closed)(
        struct h2_stream *s); /* the client or an error has ended it: never named again */
};

bool h2_is_built(void);
const char *h2_version(void); /* of nghttp2; NULL without */

/* Owned; NULL: no memory, or not built. */
struct h2 *h2_new(const struct h2_ops *ops, void *owner);
void h2_free(struct h2 *h); /* nothing is called any more */

void h2_stream_init(struct h2_stream *s);

/* It is in no session: left, closed, or on its way to another place. */
void h2_stream_drop(struct h2_stream *s);

/* Another has the session from here on; and the stream that was at another place is here. */
void h2_move(struct h2 *h, void *owner);
void h2_adopt(struct h2 *h, struct h2_stream *s);

/* What came. False: it is over, as soon as what h2_write has is out. */
bool h2_receive(struct h2 *h, struct slice bytes, int64_t now_ms);

/* Write frames into 'room' of H2_WRITE_BYTES: how many bytes; 0: there is nothing to write now. */
size_t h2_write(struct h2 *h, char *room);

/* One frame of these bytes of a body (at least one; copied), where nothing else is to be written before
 * it and the windows take all of it: the size of the frame, or 0: h2_wake and h2_write then. */
size_t h2_write_now(struct h2 *h, struct h2_stream *s, struct slice bytes, char *room);

/* Whether the last h2_write had no room for all. */
bool h2_has_more(const struct h2 *h);

/* Whether nothing will be read or written any more. */
bool h2_is_over(const struct h2 *h);

/* Whether a request is half told, or the client has not begun. */
bool h2_is_amid(const struct h2 *h);

/* Whether the window of the whole connection is used up; and how many bytes of data went out so far. */
bool h2_is_full(const struct h2 *h);
uint64_t h2_sent(const struct h2 *h);

/* ---- Exchanges ---------------------------------------------------------------------- */

/* The head of an answer, text up to its empty line (borrows, and makes its names lower case). An
 * answer of 1xx is followed by another; behind any other the client may send all of its body, which is
 * to be dropped. 'bare': no body follows. 0 or a negative code. */
int h2_answer(struct h2 *h, struct h2_stream *s, struct slice head, bool bare);

/* It has more to send, or its end. */
void h2_wake(struct h2 *h, struct h2_stream *s);

/* So many bytes of its body were used: the client may send as many more. */
void h2_credit(struct h2 *h, const struct h2_stream *s, size_t n);

/* The caller is done with it, and is never called for it again. 'cut': its answer is not whole, which
 * the client has to know; else the body ends here. */
void h2_leave(struct h2 *h, struct h2_stream *s, bool cut);

/* ---- The connection ----------------------------------------------------------------- */

void h2_ping(struct h2 *h);

/* That the server stops: first without a number, so that what is on its way is still taken; then
 * with that of the last stream. Streams go on. */
void h2_announce(struct h2 *h);
void h2_goaway(struct h2 *h);

/* Nothing goes on: GOAWAY, and it is over. */
void h2_end(struct h2 *h, bool calm); /* calm: ENHANCE_YOUR_CALM */

#endif
