/* The control events, as text: hello, reset, sync and bye.
 *
 * The order of fields is that of every event: event, (retry,) data, id. The id comes last,
 * since some clients remember it as they read its line: cut anywhere before, they come back
 * with the one before it. All return 0 or E_NOMEM. */
#ifndef SLUICE_FAN_CONTROL_H
#define SLUICE_FAN_CONTROL_H

#include "base/buf.h"
#include "base/slice.h"
#include "fan/eventid.h"
#include "fan/reason.h"

/* An id as a line, and as JSON: "<epoch>-<seq>" in quotes, or null for 0. */
int control_id_line(struct buf *b, const char *epoch, uint64_t seq);
int control_id_json(struct buf *b, const char *epoch, uint64_t seq);

/* The id that a client came with, as JSON; one that is not ours is not repeated. */
int control_came_from(struct buf *b, const struct eventid *id);

struct control_hello {
    struct slice client; /* id of the client */
    bool resumed;        /* it goes on where the client was */
    uint64_t replay;     /* events of logs that are pending */
    struct slice states; /* how many values of each state are: members of a JSON object */
    uint32_t channels;   /* that it is subscribed to */
    double heartbeat;    /* seconds; 0: none */
    struct slice share;  /* marks of its user and its plan; empty: not said */
    double max_rate;     /* of its states, events a second; 0: no limit */
    bool has_id;
    uint64_t id;
};
int control_hello(struct buf *b, const char *epoch, const struct control_hello *h);

struct control_reset {
    struct slice channel;
    enum reset_reason reason;
    struct slice from; /* as JSON */
    uint64_t oldest;   /* 0: nothing is left */
    bool has_id;
    uint64_t id;
};
int control_reset(struct buf *b, const char *epoch, const struct control_reset *r);

int control_sync(struct buf *b, const char *epoch, uint64_t seq);

struct control_bye {
    enum end_reason reason;
    uint32_t retry_ms;
    int status;  /* of a late refusal; 0: none */
    bool has_id; /* unless it says "stop" anyway */
    uint64_t id;
};
int control_bye(struct buf *b, const char *epoch, const struct control_bye *bye);

#endif
