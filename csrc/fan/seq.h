/* The sequencer: numbers events and gives every thread the same order.
 *
 * One short critical section takes the next number, writes it into the frame and posts
 * the frame to all mailboxes, or to none when one is full. The order of a log is the
 * order of release. Numbers strictly rise and are never given twice; they do not count.
 *
 * A durable group owns numbers above a gap of 2^20 while it is being committed; events
 * in memory use the gap meanwhile, so no publisher waits for a disk. When the commit returns
 * the group is released and the head jumps:
 *
 *      head 40 | 41 42 43 …  memory events … | 1048617 1048618 group | 1048619 …
 *
 * One group at a time. [any thread] */
#ifndef SLUICE_FAN_SEQ_H
#define SLUICE_FAN_SEQ_H

#include "base/bounds.h"
#include "fan/frame.h"

struct sequencer {
    pthread_mutex_t lock;
    char epoch[EPOCH_LENGTH + 1];
    _Atomic uint64_t head; /* the newest number given and released */
    uint64_t group_first;  /* 0: no group in flight */
    uint32_t group_n;
    uint64_t spent; /* the last number of the last group whose commit failed */
    struct mailbox *targets[IO_THREADS_MAX];
    unsigned n;
    message_fn *on_frame; /* gets the frame_post's message */
};

/* 'epoch' NULL draws a new one. */
void seq_init(struct sequencer *q, const char *epoch, uint64_t head,
              message_fn *on_frame);
void seq_deinit(struct sequencer *q);
void seq_add_target(struct sequencer *q, struct mailbox *target); /* before any event */

/* Number and post a frame that has a post for every target (shares one reference with
 * each). 0 or E_BUSY: then nothing happened. */
int seq_publish(struct sequencer *q, struct frame *f);

/* Wake the threads that were spared because they watch (see mailbox.h). A publisher
 * calls it at the end of its turn. */
void seq_wake(struct sequencer *q);

/* Post one message to each target, at one point of the order of events (takes them). */
void seq_post(struct sequencer *q, struct message **messages, message_fn *deliver);

/* Reserve n numbers for a group; its frames carry *first, *first + 1, …. E_BUSY while
 * another is in flight. */
int seq_group_open(struct sequencer *q, uint32_t n, uint64_t *first);

/* Release the group: post its frames, which are numbered, in order (shares). */
void seq_group_release(struct sequencer *q, struct frame **frames, uint32_t n);

/* The commit failed: its numbers stay unused, and nothing is numbered below them again. */
void seq_group_abort(struct sequencer *q);

#endif
