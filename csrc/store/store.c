/* The queue, the time, and the end; see store.h. What is under the lock here is what other
 * threads share with the store's own. */
#include "store/store.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"
#include "store/disk.h"
#include "store/drive.h"
#include "store/inner.h"

#include <assert.h>

/* ---- Queue ---------------------------------------------------------------------------- */

size_t store_op_bytes(const struct store_op *op) {
    if (op->kind == STORE_EVENT) return op->event.data.n + op->event.key.n;
    if (op->kind == STORE_SET) return op->pair.value.n + op->pair.key.n;
    return op->kind == STORE_TASK_PUT ? op->task.data.n : 0;
}

int store_submit(struct store *s, struct store_op *op) {
    int err = 0;
    bool wakes = false;
    op->answer = STORE_PENDING;
    op->late = false;
    if (op->queued_us == 0) op->queued_us = clock_us();
    pthread_mutex_lock(&s->lock);
    if (s->closing) err = E_CLOSED;
    else if (s->n_queued >= STORE_QUEUE_MAX || s->bytes_queued >= STORE_QUEUE_BYTES_MAX)
        err = E_BUSY;
    else {
        list_add(&s->queue, &op->node);
        s->bytes_queued += store_op_bytes(op);
        s->n_queued++;
        wakes = s->n_queued == s->wake_at;
    }
    pthread_mutex_unlock(&s->lock);
    if (wakes) pthread_cond_signal(&s->woken);
    return err;
}

/* ---- Time ----------------------------------------------------------------------------- */

/* Whether it waits for an idempotency key that a group in flight brings: then it may be as
 * stored as that one. [lock] */
static bool waits_for_key(const struct store *s, const struct store_op *op) {
    if (op->kind != STORE_EVENT || op->event.idempotency.n == 0) return false;
    if (PLANTED(216)) return false;
    for (uint32_t i = 0; i < s->group.n; i++) {
        const struct store_op *other = s->group.ops[i];
        if (other->kind == STORE_EVENT &&
            slice_eq(other->event.idempotency, op->event.idempotency) &&
            slice_eq(other->event.channel, op->event.channel))
            return true;
    }
    return false;
}

static void be_late(struct store *s, struct store_op *op) {
    if (op->late) return;
    op->late = true;
    s->stats.late++;
    s->calls->late(s->owner, op);
}

static void judge_group(struct store *s, int64_t now_us) {
    struct group *g = &s->group;
    if (now_us - g->began_us < STORE_LATE_MS * 1000) return;
    g->late = true;
    if (!s->stats.in_doubt)
        trouble_begin(s, TROUBLE_LATE, "the disk has not answered for 5 s",
                      "durable channels wait for it, channels in memory go on");
    for (uint32_t i = 0; i < g->n; i++) be_late(s, g->ops[i]);
}

/* Take what has waited too long behind a group out of the queue. [lock] */
static void judge_queue(struct store *s, int64_t now_us, struct list *failed) {
    for (struct list *l = s->queue.next, *next; l != &s->queue; l = next) {
        next = l->next;
        struct store_op *op = container_of(l, struct store_op, node);
        if (now_us - op->queued_us < STORE_LATE_MS * 1000) break;
        if (waits_for_key(s, op)) {
            be_late(s, op);
            continue;
        }
        list_remove(&op->node);
        list_add(failed, &op->node);
        s->n_queued--;
        s->bytes_queued -= store_op_bytes(op);
        s->stats.refused++;
    }
}

void store_tick(struct store *s, uint64_t head) {
    struct list failed;
    list_init(&failed);
    int64_t now_us = clock_us();
    bool wakes = false;
    pthread_mutex_lock(&s->lock);
    if (s->group.active) {
        judge_group(s, now_us);
        judge_queue(s, now_us, &failed);
    }
    if (head > s->head_row + STORE_NOTE && s->note == 0 && !PLANTED(210)) {
        s->note = head;
        wakes = true;
    }
    pthread_mutex_unlock(&s->lock);
    if (wakes) pthread_cond_signal(&s->woken);
    while (!list_empty(&failed)) {
        struct store_op *op = container_of(failed.next, struct store_op, node);
        list_remove(&op->node);
        op->answer = STORE_FAILED;
        s->calls->done(s->owner, &op, 1);
    }
}

/* ---- Figures -------------------------------------------------------------------------- */

void store_stats(struct store *s, struct store_stats *out) {
    pthread_mutex_lock(&s->lock);
    *out = s->stats;
    out->queued = s->n_queued;
    out->in_flight = s->group.active ? s->group.n : 0;
    const struct trouble *trouble = trouble_now(s);
    out->trouble = trouble ? trouble->what : NULL;
    out->why = trouble ? trouble->why : NULL;
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_lock(&s->reader.lock);
    out->reads = s->reader.n;
    pthread_mutex_unlock(&s->reader.lock);
    pthread_mutex_lock(&s->reader.gate);
    out->damaged += s->reader.damaged;
    pthread_mutex_unlock(&s->reader.gate);
}

/* ---- End ------------------------------------------------------------------------------ */

static void free_all(struct store *s) {
    reader_deinit(&s->reader);
    db_close(&s->db);
    records_free(&s->records);
    if (s->disk) disk_unlock(s->disk);
    else folder_close(&s->folder);
    gather_vfs_end(&s->gather_vfs);
    pthread_cond_destroy(&s->woken);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

static int end_thread(struct store *s, int64_t wait_ms) {
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_cond_signal(&s->woken);
    bool ended = drive_wait(s, wait_ms);
    pthread_mutex_unlock(&s->lock);
    if (!ended) return E_TIMEOUT;
    pthread_join(s->thread, NULL);
    s->has_thread = false;
    return 0;
}

/* The mark that all was written, and the log copied into the file: part of a log would damage
 * it, and in a folder whose lock has gone another server may be at work. */
static void close_clean(struct store *s) {
    reader_shut(&s->reader);
    if (!s->db.handle || s->stats.in_doubt || !s->head.epoch[0]) return;
    if (group_place_trouble(s)) return;
    s->head.commits++;
    if (db_checkpoint(&s->db, true) < 0 || group_write_head(s, true) < 0) return;
    sqlite3_db_config(s->db.handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
}

int store_close(struct store *s, int64_t wait_ms) {
    if (!s) return 0;
    int err = s->has_thread ? end_thread(s, wait_ms) : s->is_held ? E_TIMEOUT : 0;
    if (err < 0) return err;
    s->closing = true;
    if (!s->has_threads && s->is_running) drive_finish(s);
    group_give_up(s);
    group_drain(s, STORE_FAILED);
    reader_stop(s);
    close_clean(s);
    free_all(s);
    return 0;
}

void store_drop(struct store *s) {
    assert(!s->has_threads);
    s->closing = true;
    group_give_up(s);
    group_drain(s, STORE_UNKNOWN);
    free_all(s);
}
