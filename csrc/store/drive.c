/* Driving the machine; see drive.h.
 *
 * The thread writes at once what is queued when it is idle, into a transaction that stays
 * open while others are likely to come: as many as the last group had. It writes them while
 * publishers make the next ones; they wake it when it has enough to go on with. COMMIT comes
 * when so many have joined, none came for a while, the first has waited for STORE_GATHER_US,
 * or all waits took as long as a commit does, which more in this one could save. */
#include "store/drive.h"

#include "base/clock.h"
#include "base/planted.h"
#include "base/status.h"
#include "store/inner.h"

#include <errno.h>
#include <time.h>

/* ---- The thread ----------------------------------------------------------------------- */

/* false: the time is over. [lock held] */
static bool wait_us(struct store *s, int64_t us) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + (us % 1000000) * 1000;
    until.tv_sec += us / 1000000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    return pthread_cond_timedwait(&s->woken, &s->lock, &until) == 0;
}

bool drive_wait(struct store *s, int64_t wait_ms) {
    int64_t until = clock_us() + wait_ms * 1000;
    while (!s->ended && clock_us() < until) wait_us(s, until - clock_us());
    return s->ended;
}

static int64_t soonest(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* When there is work without an op. [lock held] */
static int64_t next_round(const struct store *s) {
    return soonest(s->maintain_us, group_head_due(s));
}

/* [lock held] */
static void wait_for_work(struct store *s) {
    while (!s->closing && s->n_queued == 0) {
        int64_t left = next_round(s) - clock_us();
        if (left <= 0) return;
        s->wake_at = 1;
        wait_us(s, left);
    }
}

/* How many the group still waits for. */
static uint32_t missing(const struct store *s) {
    uint32_t want = s->expected < STORE_GROUP_MAX ? s->expected : STORE_GROUP_MAX;
    return group_is_open(s) && s->group.n < want ? want - s->group.n : 0;
}

/* Rows go as many at once as one statement takes. */
static uint32_t enough_to_go_on(const struct store *s) {
    uint32_t all = missing(s), some = DB_ROWS_AT_ONCE - s->group.n % DB_ROWS_AT_ONCE;
    return all < some ? all : some;
}

/* How long the group may still wait. */
static int64_t patience_us(const struct store *s, int64_t now_us) {
    const struct group *g = &s->group;
    int64_t of_first = g->ops[0]->queued_us + STORE_GATHER_US - now_us;
    return soonest(soonest(of_first, s->commit_us - g->waited_us), STORE_GATHER_GAP_US);
}

/* Until there is enough to go on with. [lock held] */
static void wait_for_more(struct store *s) {
    struct group *g = &s->group;
    uint32_t enough = enough_to_go_on(s);
    while (!s->closing && s->n_queued < enough) {
        uint32_t before = s->n_queued;
        int64_t from = clock_us(), left = patience_us(s, from);
        if (left <= 0) break;
        s->wake_at = enough;
        wait_us(s, left);
        g->waited_us += clock_us() - from;
        if (s->n_queued == before) break;
    }
    s->wake_at = 0;
}

/* What comes while it is written, and what is waited for. */
static void write_all(struct store *s) {
    group_begin(s);
    do {
        pthread_mutex_lock(&s->lock);
        wait_for_more(s);
        pthread_mutex_unlock(&s->lock);
    } while (group_join(s));
    group_write(s);
}

/* [lock held] While the result is in doubt; false: the store is closing. */
static bool wait_to_retry(struct store *s, int64_t *ms) {
    int64_t until = clock_us() + *ms * 1000;
    s->wake_at = 0;
    while (!s->closing && clock_us() < until) wait_us(s, until - clock_us());
    *ms = *ms * 2 < STORE_RETRY_MAX_MS ? *ms * 2 : STORE_RETRY_MAX_MS;
    return !s->closing;
}

static void resolve(struct store *s) {
    int64_t ms = STORE_RETRY_MS;
    bool goes_on = true;
    group_resolve(s);
    while (s->group.result == GROUP_DOUBT && goes_on) {
        pthread_mutex_lock(&s->lock);
        goes_on = wait_to_retry(s, &ms);
        pthread_mutex_unlock(&s->lock);
        group_resolve(s); /* once more before the end */
    }
}

static bool turn(struct store *s) {
    pthread_mutex_lock(&s->lock);
    wait_for_work(s);
    bool over = s->closing && s->n_queued == 0;
    pthread_mutex_unlock(&s->lock);
    if (over) return false;
    if (!group_gather(s, clock_us())) return true;
    write_all(s);
    if (s->group.result == GROUP_DOUBT) resolve(s);
    if (s->group.result == GROUP_DOUBT) return false;
    pthread_mutex_lock(&s->lock);
    uint32_t queued = s->n_queued;
    pthread_mutex_unlock(&s->lock);
    group_finish(s);
    s->expected += queued;
    return true;
}

static void *run(void *arg) {
    struct store *s = arg;
    pthread_setname_np(pthread_self(), "sluice-store");
    while (turn(s)) continue;
    pthread_mutex_lock(&s->lock);
    s->ended = true;
    pthread_cond_broadcast(&s->woken);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

int store_run(struct store *s) {
    s->is_running = true;
    if (!s->has_threads) return 0;
    int err = -pthread_create(&s->thread, NULL, run, s);
    if (err < 0) return err;
    s->has_thread = true;
    return reader_run(s);
}

/* ---- Steps ---------------------------------------------------------------------------- */

void store_pace(struct store *s, int64_t commit_us, bool early, bool joins) {
    s->pace_us = commit_us;
    s->pace_early = early;
    s->pace_joins = joins;
}

void store_pace_reads(struct store *s, int64_t read_us) {
    s->reader.pace_us = read_us;
}

void store_hold(struct store *s, bool on) {
    s->is_held = on;
}

static void write_held(struct store *s) {
    group_begin(s);
    while (s->pace_joins && group_join(s)) continue;
    group_write(s);
}

static void begin(struct store *s, int64_t now_us) {
    s->group.due_us = now_us + s->pace_us;
    if (s->pace_early) write_held(s);
}

static bool go_on(struct store *s, int64_t now_us) {
    struct group *g = &s->group;
    if (now_us < g->due_us || s->is_held) return false;
    if (!g->is_written) write_held(s);
    if (g->result == GROUP_DOUBT) group_resolve(s);
    if (g->result == GROUP_DOUBT) g->due_us = now_us + STORE_RETRY_MS * 1000;
    else group_finish(s);
    return true;
}

bool store_step(struct store *s) {
    int64_t now_us = clock_us();
    bool busy = false;
    if (s->group.active) busy = go_on(s, now_us);
    if (!s->group.active && (s->n_queued > 0 || now_us >= next_round(s))) {
        bool opened = group_gather(s, now_us);
        if (opened) begin(s, now_us);
        busy = busy || opened;
    }
    if (s->group.active && now_us >= s->group.due_us && !busy) busy = go_on(s, now_us);
    return reader_step(s, now_us) || busy;
}

int64_t store_next(struct store *s) {
    int64_t next = reader_next(s);
    if (!s->group.active) {
        if (s->n_queued > 0) return 0;
        next = soonest(next, group_head_due(s));
        return s->records.n > 0 ? soonest(next, s->maintain_us) : next;
    }
    if (!s->is_held) next = soonest(next, s->group.due_us);
    if (!s->group.late) next = soonest(next, s->group.began_us + STORE_LATE_MS * 1000);
    if (s->n_queued > 0) {
        const struct store_op *op = container_of(s->queue.next, struct store_op, node);
        if (!op->late) next = soonest(next, op->queued_us + STORE_LATE_MS * 1000);
    }
    return next;
}

void drive_finish(struct store *s) {
    do {
        int64_t now_us = clock_us();
        if (!s->group.active && !group_gather(s, now_us)) continue;
        s->group.due_us = 0;
        go_on(s, now_us);
        if (s->group.active) return; /* its result is in doubt */
    } while (s->n_queued > 0);
}
