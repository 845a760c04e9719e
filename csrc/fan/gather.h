/* The visit to a stream: what it may be sent now, as one block. */
#ifndef SLUICE_FAN_GATHER_H
#define SLUICE_FAN_GATHER_H

#include "fan/stream.h"

/* Gather what it may be sent now into one block, and move its cursor behind that.
 *
 * What it may be sent, in this order: the logs it follows, merged by number; its states, each
 * as far as its tick allows; a note behind the events up to note->after. By cases:
 *
 *   nothing is pending       *out NULL, *more false: it has caught up, its cursor is the head;
 *   others stand there too   a block of the cache, shared;
 *   notes, or a compacted    a block of its own, which is not put into the cache;
 *   replay
 *   a log goes on in the     events of a page of it, up to its end; nothing passes a page
 *   store                    that is under way: then *more is false, and paging_awaits true;
 *   the block is full        *more true, and the stream lags from now on: its cursor is
 *                            written down and it is visited again. One event may be larger
 *                            than a block;
 *   a ring moved past it     before all else: a reset and the events that are left, or, when
 *                            its channel says so, bye. A state's values come once more;
 *   an end by right waits    only that: no event goes before it;
 *   any other end            events up to it, states without regard to their rates, then it:
 *                            (*out)->end says how. Nothing follows;
 *   only an end without text a block of no bytes, which ends the stream;
 *   a late cursor            (a client from a thread that is ahead of this one) no log event
 *                            until this thread gets there: a cursor never goes back;
 *   its form is compressed   so is the block, once for all who share it;
 *   no memory                E_NOMEM: nothing moved, try again.
 *
 * *out is owned, or NULL when there is nothing to send. *more says that something is left
 * behind the block. 0 or E_NOMEM. [one thread] */
int stream_gather(struct stream *s, struct block **out, bool *more);

#endif
