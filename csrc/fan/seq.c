/* The critical section of an event; see seq.h. */
#include "fan/seq.h"

#include "base/log.h"
#include "base/planted.h"
#include "base/rand.h"
#include "base/status.h"

#include <assert.h>
#include <stdio.h>

void seq_init(struct sequencer *q, const char *epoch, uint64_t head,
              message_fn *on_frame) {
    *q = (struct sequencer){.on_frame = on_frame, .gap = GROUP_GAP};
    pthread_mutex_init(&q->lock, NULL);
    if (epoch) snprintf(q->epoch, sizeof q->epoch, "%s", epoch);
    else rand_base32(q->epoch, EPOCH_LENGTH);
    atomic_init(&q->head, head);
    q->own_last = &q->own;
}

void seq_adopt(struct sequencer *q, const char *epoch, uint64_t head) {
    assert(q->n == 0 && q->group_first == 0);
    snprintf(q->epoch, sizeof q->epoch, "%s", epoch);
    atomic_store_explicit(&q->head, head, memory_order_release);
}

void seq_deinit(struct sequencer *q) {
    pthread_mutex_destroy(&q->lock);
}

void seq_add_target(struct sequencer *q, struct mailbox *target) {
    assert(q->n < IO_THREADS_MAX);
    q->targets[q->n++] = target;
}

static void raise_head(struct sequencer *q, uint64_t seq) {
    if (seq > atomic_load_explicit(&q->head, memory_order_relaxed))
        atomic_store_explicit(&q->head, seq, memory_order_release);
}

/* The head is stored before the pushes: an id that a client can have seen is never
 * taken for one of the future. */
static void release(struct sequencer *q, struct frame *f) {
    if (f->local) q->local_head = f->seq;
    else raise_head(q, f->seq);
    frame_refs_add(f, q->n);
    for (unsigned i = 0; i < q->n; i++)
        mailbox_post_event(q->targets[i], &f->posts[i].message, q->on_frame, f->patient);
}

static bool all_have_room(struct sequencer *q) {
    for (unsigned i = 0; i < q->n; i++)
        if (!mailbox_has_room(q->targets[i])) return false;
    return true;
}

static uint64_t head_of(const struct sequencer *q) {
    return atomic_load_explicit(&q->head, memory_order_relaxed);
}

/* ---- The publisher's own replica ------------------------------------------------------ */

static void own_add(struct sequencer *q, struct message *m, message_fn *deliver) {
    m->next = NULL;
    m->deliver = deliver;
    *q->own_last = m;
    q->own_last = &m->next;
}

static void own_add_command(struct sequencer *q, struct message *m, message_fn *deliver) {
    own_add(q, m, deliver);
    q->own_command = true;
}

static struct message *own_take(struct sequencer *q) {
    struct message *own = q->own;
    q->own = NULL;
    q->own_last = &q->own;
    q->own_command = false;
    q->own_n = 0;
    q->own_bytes = 0;
    return own;
}

struct message *seq_take_own(struct sequencer *q) {
    pthread_mutex_lock(&q->lock);
    struct message *own = own_take(q);
    pthread_mutex_unlock(&q->lock);
    return own;
}

/* ---- Events in memory ----------------------------------------------------------------- */

static bool is_used_up(const struct sequencer *q, uint64_t next) {
    return q->group_first > 0 && next >= q->group_first && !PLANTED(10);
}

/* Counted, and logged once per group: it may be refused a million times. */
static void refuse(struct sequencer *q) {
    q->refused++;
    if (!q->told)
        log_printf(
            LOG_ERROR,
            "a commit hangs and the %u numbers below it are given: events in memory "
            "are refused (EBUSY) until it ends",
            q->gap);
    q->told = true;
}

uint64_t seq_refused(struct sequencer *q, bool *now) {
    pthread_mutex_lock(&q->lock);
    uint64_t refused = q->refused;
    *now = is_used_up(q, head_of(q) + 1);
    pthread_mutex_unlock(&q->lock);
    return refused;
}

int seq_publish(struct sequencer *q, struct frame *f, struct message **own) {
    int err = E_BUSY;
    pthread_mutex_lock(&q->lock);
    if (q->own_command) {
        *own = own_take(q);
        pthread_mutex_unlock(&q->lock);
        return 1;
    }
    uint64_t next = (f->local ? q->local_head : head_of(q)) + 1;
    if (PLANTED(10) && q->group_first) next = q->group_first + q->group_n;
    if (!f->local && is_used_up(q, next)) refuse(q);
    else if (all_have_room(q)) {
        frame_number(f, q->epoch, next);
        release(q, f);
        *own = own_take(q);
        err = 0;
    }
    pthread_mutex_unlock(&q->lock);
    return err;
}

void seq_wake(struct sequencer *q) {
    for (unsigned i = 0; i < q->n; i++) mailbox_wake_pending(q->targets[i]);
}

static void post_all(struct sequencer *q, struct message **messages,
                     message_fn *deliver) {
    for (unsigned i = 0; i < q->n; i++) mailbox_post(q->targets[i], messages[i], deliver);
}

struct message *seq_post(struct sequencer *q, struct message **messages,
                         message_fn *deliver) {
    pthread_mutex_lock(&q->lock);
    post_all(q, messages, deliver);
    struct message *own = own_take(q);
    pthread_mutex_unlock(&q->lock);
    return own;
}

/* ---- Of a cluster --------------------------------------------------------------------- */

/* What it misses is a hole, and nothing goes behind it. */
static void own_give(struct sequencer *q, struct frame *f) {
    bool full = q->own_n >= OWN_EVENTS_MAX || q->own_bytes + f->text.n > OWN_BYTES_MAX;
    if (full || q->own_missed > 0) {
        q->own_missed++;
        return;
    }
    q->own_n++;
    q->own_bytes += f->text.n;
    own_add(q, &frame_ref(f)->posts[q->n].message, q->on_own);
}

uint64_t seq_own_missed(struct sequencer *q) {
    pthread_mutex_lock(&q->lock);
    uint64_t missed = q->own ? 0 : q->own_missed;
    pthread_mutex_unlock(&q->lock);
    return missed;
}

void seq_refill_own(struct sequencer *q) {
    pthread_mutex_lock(&q->lock);
    q->own_missed = 0;
    pthread_mutex_unlock(&q->lock);
}

int seq_give(struct sequencer *q, struct frame *f, uint64_t seq) {
    int err = E_BUSY;
    pthread_mutex_lock(&q->lock);
    if (all_have_room(q)) {
        frame_number(f, q->epoch, seq);
        release(q, f);
        if (q->on_own) own_give(q, f);
        err = 0;
    }
    pthread_mutex_unlock(&q->lock);
    return err;
}

void seq_know(struct sequencer *q, uint64_t seq) {
    pthread_mutex_lock(&q->lock);
    raise_head(q, seq);
    pthread_mutex_unlock(&q->lock);
}

void seq_command(struct sequencer *q, const struct seq_command *c) {
    pthread_mutex_lock(&q->lock);
    if (c->epoch) snprintf(q->epoch, sizeof q->epoch, "%s", c->epoch);
    post_all(q, c->messages, c->deliver);
    if (c->own) own_add_command(q, c->own, c->on_own);
    pthread_mutex_unlock(&q->lock);
}

/* ---- Groups --------------------------------------------------------------------------- */

int seq_group_open(struct sequencer *q, uint32_t n, uint64_t *first) {
    assert(n > 0);
    int err = E_BUSY;
    pthread_mutex_lock(&q->lock);
    if (q->group_first == 0) {
        q->group_first = head_of(q) + q->gap + 1;
        q->group_n = n;
        q->told = false;
        *first = q->group_first;
        err = 0;
    }
    pthread_mutex_unlock(&q->lock);
    return err;
}

/* All frames of a group to one target. */
static void post_group(struct sequencer *q, unsigned target, struct frame **frames,
                       uint32_t n) {
    struct messages all;
    bool patient = true;
    messages_init(&all);
    for (uint32_t i = 0; i < n; i++) {
        messages_add(&all, &frames[i]->posts[target].message, q->on_frame);
        patient = patient && frames[i]->patient;
    }
    mailbox_post_events(q->targets[target], &all, patient);
}

/* Posts for the publisher's replica are the last of a frame's. */
static void release_group(struct sequencer *q, struct frame **frames, uint32_t n) {
    uint64_t last = head_of(q);
    for (uint32_t i = 0; i < n; i++) {
        struct frame *f = frames[i];
        assert(f->seq >= q->group_first && f->seq > last);
        assert(f->seq < q->group_first + q->group_n);
        last = f->seq;
        frame_refs_add(f, q->n + (q->on_own ? 1 : 0));
        if (q->on_own) own_add(q, &f->posts[q->n].message, q->on_own);
    }
    atomic_store_explicit(&q->head, last, memory_order_release);
    for (unsigned i = 0; n > 0 && i < q->n; i++) post_group(q, i, frames, n);
}

void seq_group_release(struct sequencer *q, struct frame **frames, uint32_t n) {
    pthread_mutex_lock(&q->lock);
    assert(q->group_first > 0 && n <= q->group_n);
    release_group(q, frames, n);
    q->group_first = 0;
    pthread_mutex_unlock(&q->lock);
    seq_wake(q);
}

void seq_group_command(struct sequencer *q, struct message **messages,
                       message_fn *deliver, struct message *own, message_fn *on_own) {
    pthread_mutex_lock(&q->lock);
    assert(q->group_first > 0 && q->group_n == 1);
    atomic_store_explicit(&q->head, q->group_first, memory_order_release);
    post_all(q, messages, deliver);
    own_add_command(q, own, on_own);
    q->group_first = 0;
    pthread_mutex_unlock(&q->lock);
}

void seq_group_abort(struct sequencer *q) {
    pthread_mutex_lock(&q->lock);
    if (PLANTED(17)) atomic_store(&q->head, q->group_first + q->group_n - 1);
    q->group_first = 0;
    pthread_mutex_unlock(&q->lock);
}
