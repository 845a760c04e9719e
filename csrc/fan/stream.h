/* A stream: one client's cursor over the channels it follows.
 *
 * It holds no queue of events. 'cursor' says: every log event up to this number was
 * sent, filtered out by its own wish, or told lost; what comes next is found in the
 * rings by that number. All logs are served by one merge in order of sequence, then the
 * states; that one walk is replay, live delivery and catching up alike.
 *
 * Only what is meant for this stream alone (hello, reset, sync, bye, client:send) waits
 * in a private queue of notes. A note goes out after every event with a number up to
 * 'after', which is where it stood in the order of commands. [one thread] */
#ifndef SLUICE_FAN_STREAM_H
#define SLUICE_FAN_STREAM_H

#include "fan/block.h"
#include "fan/reason.h"
#include "fan/sub.h"

struct fan;

struct note {
    struct note *next;
    uint64_t after; /* events up to here go first */
    uint64_t id;    /* the cursor it carries; 0: none */
    enum stream_end end;
    bool alone; /* an end by right: no event goes before it */
    uint32_t n;
    char text[];
};

struct stream {
    struct fan *fan;
    struct list ready; /* in fan->ready: behind, and its socket takes bytes; or in
                        * fan->waiting while 'blocked' */
    struct sub *subs;
    uint32_t n_subs;
    uint32_t note_bytes;
    uint64_t cursor;
    uint64_t written; /* the newest id on the wire */
    int64_t written_ms;
    int64_t behind_ms; /* since when it is behind */
    struct note *notes, **notes_end;
    bool behind;     /* not walked with its channels; has a place of its own */
    bool blocked;    /* waits until its socket takes bytes again */
    bool opened;     /* hello is queued or out: it has a cursor of ours */
    bool came_back;  /* with an id, to a stream that had no channels yet */
    bool ending;     /* a last note is queued: nothing may follow */
    bool filtered;   /* has a filter: its id is refreshed more often */
    bool ends_clean; /* its client comes back after a clean end, and may hang else */
    bool plain;      /* no control events: for clients that look at no names */
    uint16_t resets; /* that it was told; no more than fit */
    enum end_reason reason; /* of its bye; END_NONE before */
};

/* How a stream begins; borrowed. */
struct stream_opening {
    struct slice client; /* id of the client, for hello */
    struct plan_spec plan;
    struct eventid last_id;
    uint32_t retry_ms;
    double heartbeat;  /* seconds, told in hello: the plan's, or the server's */
    bool preamble_out; /* the head went out before: ":ok" and retry are written */
};

void stream_init(struct stream *s, struct fan *fan);
void stream_deinit(struct stream *s); /* unsubscribes */

/* Subscribe to all channels and queue the preamble, hello and the resets. All or
 * nothing: 0, E_NOMEM, E_FULL, E_CHANNEL or, of a plain stream that cannot go on where its
 * client was, E_TRIMMED. */
int stream_open(struct stream *s, const struct stream_opening *o);

/* On an open stream, at this place of the order of commands. A sync note confirms the
 * subscription; history that 'rewind' asks for is written without ids. 0, E_NOMEM,
 * E_FULL, E_CHANNEL. */
int stream_subscribe(struct stream *s, const struct sub_spec *spec);
bool stream_unsubscribe(struct stream *s, struct slice channel);

/* Replace the filters and the rate of all its channels; a list that is not given and a
 * period of 0 stay as they are. All or nothing: 0 or E_NOMEM. */
int stream_set(struct stream *s, const struct sub_spec *wish);

/* Queue an event, as a frame's text, for this stream alone (copies). The caller bounds what
 * waits. 0, E_NOMEM or E_CLOSED. */
int stream_send(struct stream *s, struct slice text);

/* How a stream ends; borrowed. */
struct good_bye {
    enum end_reason reason;
    bool breaks;       /* no clean end, whoever asks: something is missing, untold */
    int status;        /* of a late refusal; 0: none */
    struct slice word; /* the lines of an event that goes before the bye; empty: none */
};

/* Queue the end where the reason's row says, and bye if it says one. Only an end by right
 * takes the place of one that was queued before and is not out yet. */
void stream_end(struct stream *s, const struct good_bye *bye);
void stream_bye(struct stream *s, enum end_reason reason); /* without more to say */

/* Queue bare bytes before everything else that is queued later (an early preamble). */
int stream_note(struct stream *s, struct slice text, uint64_t id, enum stream_end end);

/* Tell that a channel's events are lost or no longer allowed. */
void stream_reset(struct stream *s, struct slice channel, enum reset_reason reason,
                  uint64_t from, uint64_t oldest);

/* Whether the last written id is so old that the heartbeat's slot should carry a sync;
 * stream_sync queues it. */
bool stream_wants_sync(const struct stream *s, int64_t now_ms);
void stream_sync(struct stream *s);

/* Gather what it may be sent now and move its place behind that. *out is owned, or NULL
 * when there is nothing. *more says that something is left. 0 or E_NOMEM (nothing
 * moved). */
int stream_gather(struct stream *s, struct block **out, bool *more);

/* Where a subscription stands: all up to here is done, since it is written down, or since
 * its audience owes a live stream nothing else. stream_settle writes it down. */
uint64_t stream_place(const struct stream *s, const struct sub *sub);
void stream_settle(struct stream *s);

struct sub *stream_find(const struct stream *s, struct slice channel);

#endif
