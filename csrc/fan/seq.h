/* The sequencer: numbers events and gives every thread the same order.
 *
 * One short critical section takes the next number, writes it into the frame and posts
 * the frame to all mailboxes, or to none when one is full. The order of a log is the
 * order of release. Numbers strictly rise and are never given twice; they do not count.
 *
 * A durable group owns numbers above a gap of 2^24 while it is being committed; events
 * in memory use the gap meanwhile, so no publisher waits for a disk. When the commit returns
 * the group is released, perhaps with holes, and the head jumps; when it surely failed, its
 * numbers are given again:
 *
 *      head 40 | 41 42 43 …  memory events … | 16777257 16777258 group | 16777259 …
 *
 * One group at a time.
 *
 * Events of local channels (policy->local) have numbers of their own, which no client sees: in a
 * cluster the others are Redis' and leave no room for them. Their order among all that is posted is
 * the same on all threads, too.
 *
 * The publisher's own replica is a target too, without a bound: what others release waits
 * here, in its order, until the publisher takes it in; that is at the latest with its own
 * next event or command, behind which it belongs. What a cluster gives has a bound there: above it
 * events pass a stuck publisher by, until its replica is filled anew. [any thread] */
#ifndef SLUICE_FAN_SEQ_H
#define SLUICE_FAN_SEQ_H

#include "base/bounds.h"
#include "fan/frame.h"

struct sequencer {
    pthread_mutex_t lock;
    char epoch[EPOCH_LENGTH + 1];
    _Atomic uint64_t head; /* the newest number given and released */
    uint64_t local_head;   /* ... of local channels */
    uint64_t group_first;  /* 0: no group in flight */
    uint32_t group_n;
    uint32_t gap;     /* GROUP_GAP; specs set less, while no group is in flight */
    uint64_t refused; /* events in memory that found the gap used up */
    bool told;        /* ... and the log said so of this group */
    struct mailbox *targets[IO_THREADS_MAX];
    unsigned n;
    message_fn *on_frame; /* gets the frame_post's message */
    message_fn *on_own; /* the same on the publisher's thread; NULL: it has no replica */
    struct message *own, **own_last; /* what its replica has not taken in */
    bool own_command;                /* ... and a command is among it */
    uint32_t own_n;                  /* ... and so many events of a cluster, */
    size_t own_bytes;                /* ... with so many bytes */
    uint64_t own_missed;             /* events that passed it by; 0: none */
};

/* 'epoch' NULL draws a new one. */
void seq_init(struct sequencer *q, const char *epoch, uint64_t head,
              message_fn *on_frame);
void seq_deinit(struct sequencer *q);
void seq_add_target(struct sequencer *q, struct mailbox *target); /* before any event */

/* Go on with the numbers of a store: before any event and any target. */
void seq_adopt(struct sequencer *q, const char *epoch, uint64_t head);

/* Number and post a frame that has a post for every target (shares one reference with
 * each). One of a local channel waits for no group. 0, and *own is what the publisher's replica has to take in before it (NULL:
 * nothing). Else nothing happened: E_BUSY, or 1: a command came first, in *own, and the frame
 * may have to be another one behind it. */
int seq_publish(struct sequencer *q, struct frame *f, struct message **own);

/* Post a frame that another machine has numbered, above all before it, with one more post for the
 * publisher's replica, if there is one (shares). E_BUSY: a mailbox is full, and nothing happened. */
int seq_give(struct sequencer *q, struct frame *f, uint64_t seq);

/* Events that passed the publisher's replica by, when it has taken in all the others; else 0. */
uint64_t seq_own_missed(struct sequencer *q);

/* The next command fills the whole of the publisher's replica: it gets all from there on. */
void seq_refill_own(struct sequencer *q);

/* A number was given elsewhere: an id up to it is not of the future. */
void seq_know(struct sequencer *q, uint64_t seq);

/* A command of a cluster. */
struct seq_command {
    const char *epoch;         /* another one from here on; NULL */
    struct message **messages; /* one for each target */
    message_fn *deliver;
    struct message *own; /* for the publisher's replica; NULL: it has none */
    message_fn *on_own;
};

/* Post it, at one point of the order (takes its messages). */
void seq_command(struct sequencer *q, const struct seq_command *c);

/* Events in memory that were refused since a group kept its numbers until all below them were
 * given; *now: the next one would be, too. */
uint64_t seq_refused(struct sequencer *q, bool *now);

/* Wake the threads that were spared because they watch (see mailbox.h). A publisher
 * calls it at the end of its turn. */
void seq_wake(struct sequencer *q);

/* Post one message to each target, at one point of the order of events (takes them).
 * Returns what the publisher's replica has to take in before that. */
struct message *seq_post(struct sequencer *q, struct message **messages,
                         message_fn *deliver);

/* What the publisher's replica has not taken in yet; NULL: nothing. */
struct message *seq_take_own(struct sequencer *q);

/* Reserve n numbers for a group; its frames carry *first, *first + 1, …. E_BUSY while
 * another is in flight. */
int seq_group_open(struct sequencer *q, uint32_t n, uint64_t *first);

/* Release the group: post its frames, which are numbered, in order, each with one more post
 * for the publisher's replica (shares). Numbers that no frame has are holes. */
void seq_group_release(struct sequencer *q, struct frame **frames, uint32_t n);

/* Release a group that is one command: a message for each target, and one for the
 * publisher's replica (takes them). */
void seq_group_command(struct sequencer *q, struct message **messages,
                       message_fn *deliver, struct message *own, message_fn *on_own);

/* Surely nothing of it is stored: its numbers were never given. */
void seq_group_abort(struct sequencer *q);

#endif
