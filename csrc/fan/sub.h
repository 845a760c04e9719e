/* A subscription: one stream on one channel, as a member of an audience.
 *
 * 'from' says: events of the channel up to this number are done or none of its business.
 * For a log the stream's cursor says the same, and the greater counts; a state is
 * followed by 'from' alone. While the stream is live, what is not pending for its audience
 * is done too, although it is not written down (stream_cursor). [one thread] */
#ifndef SLUICE_FAN_SUB_H
#define SLUICE_FAN_SUB_H

#include "fan/eventid.h"
#include "fan/plan.h"
#include "fan/stream.h"

/* Subscribe (lagging, without a cursor yet). 0, E_NOMEM, E_FULL or E_CHANNEL. Shares. */
int sub_new(struct stream *s, const struct sub_spec *spec, struct sub **out);
/* Unlinks the one at *at, which no page is asked for (history_forget, history_leave). */
void sub_free(struct stream *s, struct sub **at);

/* Change what it wants: a list that is not given and a period of 0 stay as they are.
 * First all of a stream's subscriptions reserve, then all of them move. */
int sub_reserve(struct sub *sub, const struct sub_spec *wanted, struct audience **out);
void sub_move(struct sub *sub, struct audience *to);

/* Decide where it starts, for a client that came with this id. Returns the reason of a
 * reset, or RESET_NONE. *whole becomes false when something was missed, with a reset or, in a
 * log without history, without. 'seeks' says that it starts at 'from' or above, and
 * the store has to be asked where (history_seek). */
enum reset_reason sub_start(struct sub *sub, int32_t rewind, const struct eventid *id,
                            bool *whole);
void sub_start_newcomer(struct sub *sub, int32_t rewind);

/* The compacted replay is over. True when a sync shall say so, after a reset: the entries
 * below the cursor had no ids. */
bool sub_snapshot_over(struct sub *sub);

/* The compacted replay that a reset on an open stream is followed by. */
void sub_replay(struct sub *sub);

/* Its channel becomes a plain log: its newest per key go. Notify of what a compacted
 * replay has not brought yet, and go on with the log. */
void sub_end_snapshot(struct sub *sub);

/* Its channel becomes a state, or a log, and holds nothing any more: notify of what it
 * has not got. Called while the channel is what it was. */
void sub_begin_anew(struct sub *sub);

/* Its channel becomes one of this node alone, or of all: notify of what it has not got, and of the
 * values that it shows; and, when the channel is that, begin there. */
void sub_depart(struct sub *sub);
void sub_arrive(struct sub *sub);

/* It will not get what was wanted so far but for the last 'left' of it. */
void sub_count_dropped(struct sub *sub, uint32_t left);

/* Whether it waits for a tick that is not the next of its audience. */
bool sub_rests(const struct sub *sub);

/* While it rests, its audience's turns pass it by: what they bring stays pending. */
void sub_rest(const struct sub *sub);

/* Whether an event is for it: its filter takes it, and it was not withdrawn. */
bool sub_wants(const struct sub *sub, const struct frame *f);

/* How many events are there for it, after its filter. */
uint64_t sub_pending(const struct sub *sub);

#endif
