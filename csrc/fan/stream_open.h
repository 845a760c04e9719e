/* Opening a stream: its subscriptions, where each starts, hello and the resets; and changing
 * what an open stream follows. [one thread] */
#ifndef SLUICE_FAN_STREAM_OPEN_H
#define SLUICE_FAN_STREAM_OPEN_H

#include "fan/feed.h"
#include "fan/sub.h"

/* How a stream begins; borrowed. */
struct stream_opening {
    struct slice client; /* id of the client, for hello */
    struct plan_spec plan;
    struct eventid last_id;
    uint32_t retry_ms;
    struct slice share; /* for hello: who may have this stream instead of their own */
    double heartbeat;   /* seconds, as hello says: the plan's, or the server's */
    const struct feed_ask *ask; /* of a feed, with its plan (shares); NULL */
    struct plan *feed_plan;
    bool preamble_out; /* the head went out before: ":ok" and retry are written */
};

void stream_deinit(struct stream *s); /* unsubscribes */

/* Subscribe to all channels and queue the preamble, hello and the resets. All or
 * nothing: 0, E_NOMEM, E_FULL, E_CHANNEL or, of a plain stream that cannot go on where its
 * client was, E_TRIMMED. */
int stream_open(struct stream *s, const struct stream_opening *o);

/* A plan of what it follows now, with the options and the rewinds of the one that it was opened with.
 * Owned; NULL when memory is out. */
struct plan *stream_plan(const struct stream *s, const struct plan *opened);

/* It 'seeks', and all that it asked is known now: hello gets its id, and says whether it is
 * resumed. */
void stream_begin(struct stream *s);

/* On an open stream, at this point of the order of commands. A sync note confirms the
 * subscription; history that 'rewind' asks for goes before it, without ids where the stream
 * is past it. 0, E_NOMEM, E_FULL, E_CHANNEL. */
int stream_subscribe(struct stream *s, const struct sub_spec *spec);
bool stream_unsubscribe(struct stream *s, struct slice channel);

/* Replace the filters and the rate of all its channels; a list that is not given and a
 * period of 0 stay as they are. All or nothing: 0 or E_NOMEM. */
int stream_set(struct stream *s, const struct sub_spec *wanted);

#endif
