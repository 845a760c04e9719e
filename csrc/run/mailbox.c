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
    pthread_mutex_lock(&mb->lock);
    mb->wake = wake;
    mb->loop = loop;
    pthread_mutex_unlock(&mb->lock);
}

/* Wakes inside the lock: the loop cannot go away in between. */
static void post(struct mailbox *mb, struct message *m, message_fn *deliver,
                 uint32_t events) {
    m->next = NULL;
    m->deliver = deliver;
    pthread_mutex_lock(&mb->lock);
    *mb->last = m;
    mb->last = &m->next;
    mb->events += events;
    if (mb->wake) mb->wake(mb->loop);
    pthread_mutex_unlock(&mb->lock);
}

void mailbox_post(struct mailbox *mb, struct message *m, message_fn *deliver) {
    post(mb, m, deliver, 0);
}

void mailbox_post_event(struct mailbox *mb, struct message *m, message_fn *deliver) {
    post(mb, m, deliver, 1);
}

bool mailbox_has_room(struct mailbox *mb) {
    pthread_mutex_lock(&mb->lock);
    bool room = mb->events < MAILBOX_EVENTS_MAX;
    pthread_mutex_unlock(&mb->lock);
    return room;
}

void mailbox_event_done(struct mailbox *mb) {
    pthread_mutex_lock(&mb->lock);
    assert(mb->events > 0);
    mb->events--;
    pthread_mutex_unlock(&mb->lock);
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
    for (struct message *m = take(mb, max), *next; m; m = next, n++) {
        next = m->next;
        m->deliver(mb->owner, m);
    }
    return n;
}
