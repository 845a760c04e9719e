/* A feed: a log as readers of the Durable Streams protocol get it.
 *
 * The walk is that of every stream (gather.c); here frames become its messages, and a place in
 * the log becomes an offset: "<epoch>_<number of 19 digits>", which sorts as text. By the type
 * that its plan says, the data of an event are
 *
 *     application/json   one JSON value (text that is none: a JSON string)
 *     text/...           text, one behind the other
 *     any other type     base64 of bytes, one behind the other
 *
 * Read in pages a block holds messages alone: values with commas between them, text, or bytes.
 * Read live over SSE it holds events "data" with, behind each, an event "control":
 *
 *     event: data LF data:[ LF data:{"a":1}, LF data:{"b":2} LF data:] LF LF
 *     event: control LF data:{"streamNextOffset":"…","streamCursor":"…"} LF LF
 *
 * A feed is closed while its newest event has a name that closes it. [one thread] */
#ifndef SLUICE_FAN_FEED_H
#define SLUICE_FAN_FEED_H

#include "base/buf.h"
#include "fan/eventid.h"
#include "fan/plan.h"
#include "fan/reason.h"

struct chan;
struct chans;
struct frame;

enum feed_mode {
    FEED_PAGE, /* what is there, then the end */
    FEED_POLL, /* the same; when nothing is there, the next that comes */
    FEED_SSE
};

#define FEED_OFFSET_DIGITS 19
#define FEED_OFFSET_LENGTH (EPOCH_LENGTH + 1 + FEED_OFFSET_DIGITS)

/* What a reader asks for. */
struct feed_ask {
    enum feed_mode mode;
    struct eventid from; /* EVENTID_NONE: the beginning, or the end */
    bool at_end;
    uint64_t cursor; /* the interval that it had last; 0: none */
};

/* Part of a stream. */
struct feed {
    struct plan *plan;
    enum feed_mode mode;
    enum feed_kind kind;
    bool at_end;   /* it began there */
    uint64_t from; /* number: events up to here are not sent; 0: all are */
    uint64_t
        closing; /* number: the newest event that closes it, of those that were walked */
    uint64_t least; /* intervals of the cursor below this one were given out */
    uint64_t shape; /* feeds with equal ones may share blocks */
    uint64_t
        fault; /* number: the data of this event is not what its type says; 0: none */
    enum reset_reason lost; /* why it cannot go on where its reader was */
};

/* Messages that are being put into a block. */
struct feed_draft {
    bool open;   /* SSE: an event "data" whose control is not written */
    uint64_t at; /* number of its last event */
};

/* Of a media type. */
enum feed_kind feed_kind_of(struct slice type);

/* Read "-1", "now" or an offset; a text that is none of these: E_INVAL. */
int feed_read_offset(struct feed_ask *ask, struct slice text);

/* Write FEED_OFFSET_LENGTH characters and a NUL. */
void feed_write_offset(char *out, const char *epoch, uint64_t seq);

/* Owned. Shares the plan, whose options say that it is one. 'random': state of a generator. */
struct feed *feed_new(struct plan *plan, const struct feed_ask *ask, uint64_t *random);
void feed_free(struct feed *feed); /* NULL is fine */

/* Whether its cursor is its own: no other feed may share its blocks. */
bool feed_is_alone(const struct feed *feed);

/* The interval of time that a live answer tells: never one that the reader had. */
uint64_t feed_cursor(const struct feed *feed);

/* Whether a channel can be read so: a log that says what it lost. */
bool feed_fits(const struct chan *c);

/* Where a log ends: its newest event, or what went before it began (number). */
uint64_t feed_end(const struct chans *cs, const struct chan *c);

/* Whether the newest event of the log closes it. */
bool feed_is_closed(const struct feed *feed, const struct chan *c);

/* Where to look from so that this is known: the place before the newest event when only the
 * store has that, else 'from'. */
uint64_t feed_look_from(const struct feed *feed, const struct chans *cs,
                        const struct chan *c, uint64_t from);

/* Append the message of an event, if it is one. 1, 0 (no message), E_NOMEM or, for data that is
 * not what the type says, E_INVAL: then nothing was appended. */
int feed_add(struct feed *feed, struct feed_draft *draft, const char *epoch,
             const struct frame *f, struct buf *out);

/* What a control event says. */
struct feed_control {
    uint64_t at; /* where to go on (number) */
    bool up_to_date, closed;
};

/* Append what ends the event "data", if one is open, and a control event. 0 or E_NOMEM. */
int feed_add_control(const struct feed *feed, struct feed_draft *draft, const char *epoch,
                     const struct feed_control *control, struct buf *out);

#endif
