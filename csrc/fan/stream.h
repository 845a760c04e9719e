/* A stream: one client's cursor over the channels it follows.
 *
 * It holds no queue of events. 'cursor' says: every log event up to this number was
 * sent, left out by its filter, or reported as lost; what comes next is found in the
 * rings by that number. All logs are served by one merge in order of sequence, then local ones,
 * which have numbers of their own and no ids, then the states; that one walk is replay, live delivery and catching up alike.
 *
 * Only what is meant for this stream alone (hello, reset, sync, bye, client:send) waits
 * in a private queue of notes. A note goes out after every event with a number up to
 * 'after', which is where it stood in the order of commands.
 *
 * A stream is live (it has all that its audiences had turns for, and is walked with them; its
 * cursor need not be written down) or lagging (it is served from fan->ready, by a cursor of
 * its own). It begins lagging. [one thread] */
#ifndef SLUICE_FAN_STREAM_H
#define SLUICE_FAN_STREAM_H

#include "base/planted.h"
#include "fan/audience.h"
#include "fan/fan_state.h"
#include "fan/reason.h"

struct note {
    struct note *next;    /* of the last one: the first */
    uint64_t after;       /* number: events up to here go first, */
    uint64_t local_after; /* ... and those of local channels up to here */
    uint64_t id;          /* number: the cursor it carries; 0: none */
    enum stream_end end;
    bool alone;      /* an end by right: no event goes before it */
    bool waits;      /* hello: its id is not known yet (stream->seeks) */
    bool resumes;    /* ... and becomes "resumed":true unless a reset comes before */
    bool own;        /* of stream_send */
    bool ends_epoch; /* one of the resets of which the last brings the new epoch's id */
    uint32_t n;      /* bytes of text */
    char text[];
};

struct feed;

struct stream {
    struct fan *fan;
    struct list ready; /* in fan->ready: lagging, and its socket takes bytes; or in
                        * fan->waiting while 'blocked' */
    struct sub *subs;  /* the newest first */
    uint32_t n_subs;
    uint32_t note_bytes; /* of all notes, in bytes of text */
    uint64_t cursor;     /* number; of a live stream it may be too low */
    uint64_t written;    /* number: the newest id on the wire; 0: none */
    uint32_t
        written_ms; /* when that was written: the clock's low 32 bits, for differences */
    uint32_t lagging_ms;    /* since when it lags, in the same way */
    struct paging *paging;  /* it needs pages of durable logs (history.h); NULL */
    struct feed *feed;      /* its reader gets messages of a log (feed.h); NULL: events */
    struct note *last_note; /* of the queue, in their order; the first follows it. NULL */
    bool replayed : 1;      /* it has caught up once: see 'replay' */
    bool lagging : 1;    /* not walked with its audiences: its cursor is written down */
    bool blocked : 1;    /* waits until its socket takes bytes again, or for a result */
    bool heard : 1;      /* of a cluster: the last epoch began before its eyes */
    bool opened : 1;     /* hello is queued or out: it has a cursor of ours */
    bool came_back : 1;  /* with an id, to a stream that had no channels yet */
    bool ending : 1;     /* a last note is queued: nothing may follow */
    bool filtered : 1;   /* has a filter: its id is refreshed more often */
    bool ends_clean : 1; /* its client comes back after a clean end, and may hang else */
    bool plain : 1;      /* no control events: for clients that look at no names */
    bool pads : 1;       /* a comment of 2 KiB goes first */
    bool
        seeks : 1; /* where it starts, or whether that is whole, is asked of a store: nothing
                      * is sent before */
    enum end_cause cause : 5;   /* what brought its end about */
    enum end_reason reason : 4; /* of its bye; END_NONE before */
    enum form_id form : 4;
    uint16_t resets; /* that it was sent; no more than fit */
    uint16_t replay; /* events that it was sent until it had caught up first; as well */
};

_Static_assert(END_REASONS <= 16 && FORMS <= 16, "they have 4 bits there");

void stream_init(struct stream *s, struct fan *fan, enum form_id form);

/* ---- Live and lagging --------------------------------------------------------------- */

/* It may have something to send: it will be visited in the next flush, and lags until that
 * visit finds that it has caught up. By cases:
 *
 *   live      its cursor is written down (stream_settle) and it leaves the walk of its
 *             audiences, wherever that walk stands;
 *   lagging   nothing changes but that it is in the ready list, once;
 *   blocked   nothing: stream_writable wakes it when its socket takes bytes again, and until
 *             then it is in fan->waiting; fan_on_result does when its block was queued;
 *   ended     (its last block is with ops->send) it stays blocked for ever: nothing. */
void stream_wake(struct stream *s);

/* Its socket takes bytes again: it is not blocked any more, and woken. */
void stream_writable(struct stream *s);

/* From live to lagging: not walked with its audiences, and its cursor is written down. */
void stream_demote(struct stream *s);
void stream_make_ready(struct stream *s); /* lagging, and in the ready list */

/* How far a stream has got with a subscription (number): it is done with all up to here,
 * because that is written down, or because nothing else is pending for its audience while
 * the stream is live. stream_settle writes it down. */
static inline uint64_t stream_cursor(const struct stream *s, const struct sub *sub) {
    bool own = sub_is_apart(sub) || sub->behind || (sub->snapshot && !PLANTED(27));
    uint64_t at = own || sub->from > s->cursor ? sub->from : s->cursor;
    if (s->lagging) return at;
    uint64_t clear = audience_sent(sub->audience, fan_head(s->fan, sub_chan(sub)));
    return clear > at ? clear : at;
}
void stream_settle(struct stream *s);

struct sub *stream_find(const struct stream *s, struct slice channel);

/* The first note that waits, and the one behind it; NULL. */
static inline struct note *stream_note(const struct stream *s) {
    return s->last_note ? s->last_note->next : NULL;
}
static inline struct note *stream_next_note(const struct stream *s,
                                            const struct note *note) {
    return note == s->last_note ? NULL : note->next;
}

/* ---- What is sent to it alone ------------------------------------------------------- */

/* Queue an event, as a frame's text, for this stream alone (copies). The caller bounds what
 * waits. 0, E_NOMEM or E_CLOSED. */
int stream_send(struct stream *s, struct slice text);

/* What stream_send queued and nobody was given, for a stream that takes the place of this one: owned
 * between the two calls. A stream that ends drops it. */
struct note *stream_take_own(struct stream *s);
void stream_put_own(struct stream *s, struct note *own); /* takes */

/* How a stream ends; borrowed. */
struct bye {
    enum end_reason reason;
    enum end_cause cause; /* END_AS_USUAL: the usual one of the reason */
    bool breaks; /* no clean end in any case: something is missing and was not reported */
    int status;  /* of a late refusal; 0: none */
    struct slice word; /* lines of an event that goes before the bye; empty: none */
    bool over_limit;   /* of its address or user: it comes back later than others */
};

static inline enum end_retry bye_retry(const struct bye *bye) {
    return bye->over_limit ? RETRY_LIMIT : reason_end(bye->reason)->retry;
}

/* Queue the end where the reason's row says, and bye if it says one. Only an end by right
 * takes the place of one that was queued before and is not out yet. */
void stream_end(struct stream *s, const struct bye *bye);
void stream_bye(struct stream *s, enum end_reason reason); /* without more to say */

#define STREAM_PADDING 2048 /* some old clients read nothing before that much has come */

/* Append what its body begins with. 0 or E_NOMEM. */
int stream_head(const struct stream *s, struct buf *b, uint32_t retry_ms);

/* Queue what its body begins with, before its plan is there. 'retry_ms': when to come back;
 * 0: its bye says so. 0 or E_NOMEM. */
int stream_preamble(struct stream *s, uint32_t retry_ms);

/* Notify of events of a channel that are lost or no longer allowed. */
void stream_reset(struct stream *s, const struct loss *loss);

/* Queue a heartbeat, or a sync in its place when the last written id is old. */
void stream_beat(struct stream *s);

/* Whether the last written id is that old; stream_sync queues a sync. */
bool stream_wants_sync(const struct stream *s, int64_t now_ms);
void stream_sync(struct stream *s);

/* ---- Notes, for stream_open.c ------------------------------------------------------- */

#define NOTE_FIRST UINT64_MAX /* in place of a number: it goes before all events */

/* NULL when memory is out. */
struct note *note_new(const struct stream *s, struct slice text, uint64_t after,
                      uint64_t id, enum stream_end end);
struct note *note_new_sync(const struct stream *s, uint64_t at_least); /* or the head */

/* Put a note behind those that go out after the same number or a lower one (takes). */
void stream_add_note(struct stream *s, struct note *note);
int stream_queue(struct stream *s, struct slice text, uint64_t after, uint64_t id,
                 enum stream_end end);           /* a new one: 0 or E_NOMEM */
struct note *stream_take_note(struct stream *s); /* out of the queue: owned */
void stream_drop_notes(struct stream *s);

/* A reset is queued, or stands in place of one: count it, and report it (fan_ops.lost). */
void stream_count_reset(struct stream *s, const struct loss *loss);

/* A plain stream has no notices: it breaks off, and its client comes back. */
void stream_break(struct stream *s, enum end_reason reason, enum end_cause cause);

#endif
