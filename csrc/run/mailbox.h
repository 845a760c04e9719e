/* Mailboxes: how threads talk.
 *
 * A mailbox is a FIFO of messages that belongs to one loop; any thread may post. A
 * message is embedded in the object it is about, so that posting never allocates and
 * never fails; what is bounded is the number of *events* under way
 * (MAILBOX_EVENTS_MAX), which the sequencer asks for before it numbers one. The lock is
 * held for a few instructions. Every push wakes the loop through ev_async, after it let
 * go of the lock, which the loop would else wake up to wait for; libev keeps the flag
 * that saves the system call.
 *
 * A burst of events would wake a loop again and again that is quicker than the publisher,
 * and each wake costs more than the publish. So an owner that gets events in numbers
 * promises to look again within LOOK_AGAIN_MS, and until then events do not wake it: the
 * wake is pending to the end of the publisher's turn. The promise makes it safe: a publisher
 * that gets stuck in its turn delays nothing for longer than that.
 *
 * Patient events, which no client gets before a tick, need no wake at all: after some of
 * them the owner promises to look within LOOK_LATER_MS, and others still wake it. */
#ifndef SLUICE_RUN_MAILBOX_H
#define SLUICE_RUN_MAILBOX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct mailbox;
struct message;

/* Runs on the thread that owns the mailbox. 'owner' is what mailbox_init was given; the
 * message belongs to the callee from here on. */
typedef void message_fn(void *owner, struct message *m);

struct message {
    struct message *next;
    message_fn *deliver;
};

/* Messages that are posted at once, in order: one push, one wake. */
struct messages {
    struct message *first, **last;
    unsigned n;
};

static inline void messages_init(struct messages *ms) {
    ms->first = NULL;
    ms->last = &ms->first;
    ms->n = 0;
}

static inline void messages_add(struct messages *ms, struct message *m,
                                message_fn *deliver) {
    m->next = NULL;
    m->deliver = deliver;
    *ms->last = m;
    ms->last = &m->next;
    ms->n++;
}

enum mailbox_promise {
    PROMISE_NONE,
    PROMISE_LATER, /* to look within LOOK_LATER_MS: patient events wait */
    PROMISE_SOON   /* within LOOK_AGAIN_MS: all events wait */
};

struct mailbox {
    pthread_mutex_t lock;
    struct message *first, **last;
    atomic_uint events; /* posted and not yet delivered */
    atomic_bool called; /* something that is no event came since the last drain began */
    void *owner;
    atomic_int promised;      /* by the owner: enum mailbox_promise */
    atomic_bool wake_pending; /* an event came meanwhile */
    void (*wake)(void *loop); /* NULL: the owner polls */
    void *loop;
};

void mailbox_init(struct mailbox *mb, void *owner);
void mailbox_deinit(struct mailbox *mb); /* must be empty */

/* From now on each push calls wake(loop). Other threads that post begin after it, and end
 * before the loop goes away. */
void mailbox_attach(struct mailbox *mb, void (*wake)(void *loop), void *loop);

/* Post (takes m). Never fails. [any thread] */
void mailbox_post(struct mailbox *mb, struct message *m, message_fn *deliver);
void mailbox_post_all(struct mailbox *mb, struct messages *ms); /* at least one */

/* Whether one more event has room. Only the sequencer posts events, inside its own
 * section, so room that was seen stays. [any thread] */
bool mailbox_has_room(struct mailbox *mb);
void mailbox_post_event(struct mailbox *mb, struct message *m, message_fn *deliver,
                        bool patient);
void mailbox_post_events(struct mailbox *mb, struct messages *ms, bool patient);
void mailbox_event_done(struct mailbox *mb); /* [owner] */

/* Give a promise, or take it back: then drain once more. [owner] */
void mailbox_promise(struct mailbox *mb, enum mailbox_promise promise);

/* Wake the owner, for something that is not in the mailbox. [any thread] */
void mailbox_wake(struct mailbox *mb);

/* Wake an owner that was spared. [the thread that posts events] */
void mailbox_wake_pending(struct mailbox *mb);

/* Deliver up to 'max' messages. Returns how many; when it is 'max' there may be more.
 * [owner] */
int mailbox_drain(struct mailbox *mb, int max);

#endif
