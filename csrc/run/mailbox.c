/* A locked FIFO of embedded messages; see mailbox.h. This file and the sequencer hold
 * the only locks on the way of an event. */
#include "run/mailbox.h"

#include "base/bounds.h"

#include <assert.h>
#include <stddef.h>

void mailbox_init(struct mailbox *mb, void *owner) {
    *mb = (struct mailbox){.owner = owner};
    mb->last = &mb->first;
    pthread_mutex_init(&mb->lock, NULL);
}

void mailbox_deinit(struct mailbox *mb) {
    assert(!mb->first);
    pthread_mutex_destroy(&mb->lock);
}

void mailbox_attach(struct mailbox *mb, void (*wake)(void *loop), void *loop) {
    mb->wake = wake;
    mb->loop = loop;
}

static void push(struct mailbox *mb, struct messages *ms) {
    assert(ms->n > 0);
    pthread_mutex_lock(&mb->lock);
    *mb->last = ms->first;
    mb->last = ms->last;
    pthread_mutex_unlock(&mb->lock);
}

void mailbox_wake(struct mailbox *mb) {
    if (mb->wake) mb->wake(mb->loop);
}

void mailbox_post(struct mailbox *mb, struct message *m, message_fn *deliver) {
    struct messages one;
    messages_init(&one);
    messages_add(&one, m, deliver);
    mailbox_post_all(mb, &one);
}

void mailbox_post_all(struct mailbox *mb, struct messages *ms) {
    push(mb, ms);
    atomic_store_explicit(&mb->called, true, memory_order_relaxed);
    mailbox_wake(mb);
}

void mailbox_post_event(struct mailbox *mb, struct message *m, message_fn *deliver,
                        bool patient) {
    struct messages one;
    messages_init(&one);
    messages_add(&one, m, deliver);
    mailbox_post_events(mb, &one, patient);
}

/* The lock orders this: an owner that took the promise back before it drained for the last
 * time either found the message or is seen to promise nothing. */
void mailbox_post_events(struct mailbox *mb, struct messages *ms, bool patient) {
    unsigned before = atomic_fetch_add_explicit(&mb->events, ms->n, memory_order_relaxed);
    push(mb, ms);
    int promised = atomic_load_explicit(&mb->promised, memory_order_relaxed);
    if (promised == PROMISE_NONE || (promised == PROMISE_LATER && !patient))
        mailbox_wake(mb);
    else if (!patient || before + ms->n > MAILBOX_PATIENT_MAX)
        atomic_store_explicit(&mb->wake_pending, true, memory_order_relaxed);
}

void mailbox_promise(struct mailbox *mb, enum mailbox_promise promise) {
    atomic_store_explicit(&mb->promised, promise, memory_order_relaxed);
}

void mailbox_wake_pending(struct mailbox *mb) {
    if (!atomic_load_explicit(&mb->wake_pending, memory_order_relaxed)) return;
    atomic_store_explicit(&mb->wake_pending, false, memory_order_relaxed);
    mailbox_wake(mb);
}

bool mailbox_has_room(struct mailbox *mb) {
    return atomic_load_explicit(&mb->events, memory_order_relaxed) < MAILBOX_EVENTS_MAX;
}

void mailbox_event_done(struct mailbox *mb) {
    unsigned before = atomic_fetch_sub_explicit(&mb->events, 1, memory_order_relaxed);
    assert(before > 0);
}

/* Take up to 'max' messages off the queue as a chain. */
static struct message *take(struct mailbox *mb, int max) {
    pthread_mutex_lock(&mb->lock);
    struct message *chain = mb->first, **end = &chain;
    for (int i = 0; i < max && *end; i++) end = &(*end)->next;
    mb->first = *end;
    *end = NULL;
    if (!mb->first) mb->last = &mb->first;
    pthread_mutex_unlock(&mb->lock);
    return chain;
}

int mailbox_drain(struct mailbox *mb, int max) {
    int n = 0;
    atomic_store_explicit(&mb->called, false, memory_order_relaxed);
    for (struct message *m = take(mb, max), *next; m; m = next, n++) {
        next = m->next;
        m->deliver(mb->owner, m);
    }
    return n;
}
