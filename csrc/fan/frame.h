/* A frame: one event, encoded once as Server-Sent-Events text, shared by every thread
 * and subscriber.
 *
 * Immutable after frame_number. The text of a log event is
 *
 *     event: goal\ndata: {"minute":23}\nid: k3f9…-18441\n\n
 *
 * with no event line for "message" and no id line for state events. The payload is
 * split at CR, LF and CRLF; NUL and invalid UTF-8 become U+FFFD (WHATWG HTML 9.2.5). */
#ifndef SLUICE_FAN_FRAME_H
#define SLUICE_FAN_FRAME_H

#include "base/buf.h"
#include "base/slice.h"
#include "run/mailbox.h"

#include <stdatomic.h>
#include <stdint.h>

#define EPOCH_LENGTH 13 /* base32 characters: 65 random bits */

/* What a publisher hands over; all slices are borrowed. */
struct event {
    struct slice channel;
    uint64_t channel_hash; /* map_hash of it; 0: not known yet */
    struct slice name;     /* empty: "message" */
    struct slice key;      /* empty: none */
    struct slice data;
    bool remove;    /* takes its key out of the snapshot */
    int64_t ttl_ms; /* 0: as long as its channel keeps it */
};

struct frame;

/* The message of a frame in one thread's mailbox. */
struct frame_post {
    struct message message;
    struct frame *frame;
};

struct frame {
    atomic_uint refs;
    bool has_id; /* a log event */
    bool local;  /* of a channel of one node: 'seq' is one of its own numbers */
    bool remove;
    bool patient;       /* no client gets it before a tick */
    uint64_t seq;       /* 0 until numbered */
    int64_t at_ms;      /* when it was accepted */
    int64_t at_us;      /* the same, of what this run published; 0: unknown */
    uint64_t before;    /* bytes of lines encoded for its channel before it; for lags */
    int64_t expires_ms; /* from then on it is withdrawn; 0: never */
    uint64_t channel_hash, name_hash, key_hash;
    struct slice channel, name, key;
    struct slice text; /* what goes on the wire, whole events only */
    struct slice body; /* the data lines of it */
    struct frame_post *posts;
};

/* Check and encode (copies). 'posts' is the number of mailboxes it may be posted to.
 * 0, E_BADFIELD (event name), E_TOOBIG or E_NOMEM. Returns owned, one reference. */
int frame_new(struct frame **out, const struct event *event, bool has_id, unsigned posts);

/* An event as a store gives it back; times are wall clock milliseconds. */
struct frame_row {
    struct event event; /* its ttl is not looked at */
    uint64_t seq;
    int64_t at_ms, expires_ms; /* 0: never */
    int64_t boot_ms;           /* wall clock minus monotonic, now */
};

/* Make a numbered frame of it, which is posted nowhere. Results as of frame_new. */
int frame_restore(struct frame **out, const struct frame_row *row, bool has_id,
                  const char *epoch);

/* Give it its number: writes the end of the text in place. Once only. */
void frame_number(struct frame *f, const char *epoch, uint64_t seq);

/* Its event and data lines, without the id and the blank line. */
struct slice frame_lines(const struct frame *f);

/* Append the whole event but for its id. 0 or E_NOMEM. */
int frame_add_without_id(const struct frame *f, struct buf *out);

struct frame *frame_ref(struct frame *f);
void frame_refs_add(struct frame *f, unsigned n);
void frame_unref(struct frame *f);

/* Whether its publisher's ttl is over: no client gets it any more. */
static inline bool frame_is_over(const struct frame *f, int64_t now_ms) {
    return f->expires_ms != 0 && f->expires_ms <= now_ms;
}

/* Append the payload as the publisher gave it (lines joined by LF). 0 or E_NOMEM. */
int frame_payload(const struct frame *f, struct buf *out);

/* NULL when 'name' may be an event's name, else what is wrong with it. "error" and
 * "open" would reach the handlers of a browser's EventSource; the rest are ours. */
const char *frame_check_name(struct slice name);

/* Bytes of 'data' as a client gets it: NUL and what is no UTF-8 replaced, line ends one byte
 * each. */
size_t frame_data_bytes(struct slice data);

/* Append 'text' with NUL and invalid UTF-8 replaced. 0 or E_NOMEM. */
int frame_repair(struct slice text, struct buf *out);

/* Frames that are alive now. */
long frame_live(void);

#endif
