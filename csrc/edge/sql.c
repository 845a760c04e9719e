/* Threads of open files, and what they are asked; see sql.h. */
#include "edge/sql.h"

#include "base/bounds.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/status.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct sql {
    struct loop *loop;
    bool threads, freed;
    sql_on_answer *on_answer;
    void *context;
    struct list files, asked; /* asked: all whose answer is to come */
    unsigned n_files, n_asked;
    uint64_t last_id;
};

/* Shared by the owner and its thread: the last one frees it. */
struct file {
    struct list node; /* the owner's */
    uint64_t id;
    bool is_pg; /* which of these it is; both are the thread's */
    struct sql_file sql;
    struct sql_pg pg;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct list queue;      /* under the lock, as all below */
    unsigned n_queue, refs; /* queued and running */
    struct loop *loop;      /* where answers go; NULL: nowhere, the owner has gone */
    bool ended;
    bool gone; /* the owner's: closed, and its thread ends */
    atomic_bool closed;
};

struct question {
    struct message message;
    struct list node;  /* in the queue of its file */
    struct list asked; /* the owner's */
    struct sql *sql;
    uint64_t ticket;
    int64_t asked_ms;
    atomic_bool cancelled;
    struct sql_answer answer;
    struct sql_question what; /* points into 'room' */
    char room[];
};

/* ---- Questions ------------------------------------------------------------------------ */

static struct slice copy(char **room, struct slice s) {
    char *p = *room;
    if (s.n > 0) memcpy(p, s.p, s.n);
    p[s.n] = 0;
    *room += s.n + 1;
    return slice_of(p, s.n);
}

static struct question *new_question(const struct sql_question *q) {
    size_t values = q->n_values * sizeof *q->values, n = q->text.n + 1;
    for (uint32_t i = 0; i < q->n_values; i++)
        n += q->values[i].name.n + q->values[i].text.n + 2;
    struct question *own = mem_try(sizeof *own + values + n);
    if (!own) return NULL;
    memset(own, 0, sizeof *own);
    char *room = own->room;
    struct sql_value *list = (void *)room;
    if (values > 0) memcpy(list, q->values, values);
    room += values;
    own->what = *q;
    own->what.values = list;
    own->what.text = copy(&room, q->text);
    for (uint32_t i = 0; i < q->n_values; i++) {
        list[i].name = copy(&room, q->values[i].name);
        list[i].text = copy(&room, q->values[i].text);
    }
    own->asked_ms = sql_now_ms();
    list_init(&own->node);
    list_init(&own->asked);
    return own;
}

static void free_question(struct question *q) {
    sql_answer_free(&q->answer);
    mem_free(q);
}

static void forget(struct question *q) {
    struct sql *s = q->sql;
    list_remove(&q->asked);
    free_question(q);
    if (--s->n_asked == 0 && s->freed) mem_free(s);
}

/* [owner of the loop] */
static void on_done(void *owner, struct message *m) {
    struct question *q = container_of(m, struct question, message);
    struct sql *s = q->sql;
    (void)owner;
    if (!s->freed && !atomic_load(&q->cancelled))
        s->on_answer(s->context, q->ticket, &q->answer);
    forget(q);
}

/* ---- The thread of a file ------------------------------------------------------------- */

static void unref(struct file *f) {
    pthread_mutex_lock(&f->lock);
    bool last = --f->refs == 0;
    pthread_mutex_unlock(&f->lock);
    if (!last) return;
    if (f->is_pg) sql_pg_deinit(&f->pg);
    else sql_file_deinit(&f->sql);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    mem_free(f);
}

/* The next one, which stays in the queue while it runs; NULL: the end. */
static struct question *next(struct file *f) {
    struct question *q = NULL;
    pthread_mutex_lock(&f->lock);
    while (list_empty(&f->queue) && !atomic_load(&f->closed))
        pthread_cond_wait(&f->changed, &f->lock);
    if (!list_empty(&f->queue)) q = container_of(f->queue.next, struct question, node);
    pthread_mutex_unlock(&f->lock);
    return q;
}

static void hand_over(struct file *f, struct question *q) {
    pthread_mutex_lock(&f->lock);
    list_remove(&q->node);
    f->n_queue--;
    struct loop *loop = f->loop;
    if (loop) mailbox_post(&loop->mailbox, &q->message, on_done);
    pthread_mutex_unlock(&f->lock);
    if (!loop) free_question(q);
}

static void carry_out_pg(struct file *f, struct question *q) {
    f->pg.stop[0] = &f->closed;
    f->pg.stop[1] = &q->cancelled;
    sql_pg_run(&f->pg, &q->what, q->asked_ms, &q->answer);
    f->pg.stop[1] = NULL;
}

static void carry_out(struct file *f, struct question *q) {
    if (f->is_pg) {
        carry_out_pg(f, q);
        return;
    }
    f->sql.stop[0] = &f->closed;
    f->sql.stop[1] = &q->cancelled;
    sql_file_run(&f->sql, &q->what, q->asked_ms, &q->answer);
    f->sql.stop[1] = NULL;
}

static void *run(void *arg) {
    struct file *f = arg;
    pthread_setname_np(pthread_self(), f->is_pg ? "sluice-postgres" : "sluice-sqlite");
    for (struct question *q; (q = next(f));) {
        carry_out(f, q);
        hand_over(f, q);
    }
    pthread_mutex_lock(&f->lock);
    f->ended = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    unref(f);
    return NULL;
}

static int start(struct file *f) {
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    f->refs++;
    int err = -pthread_create(&thread, &attr, run, f);
    if (err < 0) f->refs--;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return err;
}

/* ---- Files ---------------------------------------------------------------------------- */

static struct file *find(struct sql *s, uint64_t id) {
    for (struct list *node = s->files.next; node != &s->files; node = node->next) {
        struct file *f = container_of(node, struct file, node);
        if (f->id == id && !f->gone) return f;
    }
    return NULL;
}

static struct file *new_file(struct sql *s, bool is_pg, const char *path,
                             const struct sql_limits *limits) {
    struct file *f = mem_new(sizeof *f);
    pthread_condattr_t attr;
    f->is_pg = is_pg;
    if (is_pg) sql_pg_init(&f->pg, path, limits);
    else sql_file_init(&f->sql, path, limits);
    pthread_mutex_init(&f->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&f->changed, &attr);
    pthread_condattr_destroy(&attr);
    list_init(&f->queue);
    f->loop = s->loop;
    f->refs = 1;
    f->ended = !s->threads;
    return f;
}

static bool has_ended(struct file *f) {
    pthread_mutex_lock(&f->lock);
    bool ended = f->ended;
    pthread_mutex_unlock(&f->lock);
    return ended;
}

/* Let go of closed files whose threads have ended. */
static void sweep(struct sql *s) {
    for (struct list *node = s->files.next, *after; node != &s->files; node = after) {
        struct file *f = container_of(node, struct file, node);
        after = node->next;
        if (!f->gone || !has_ended(f)) continue;
        list_remove(&f->node);
        unref(f);
    }
}

int sql_open(struct sql *s, bool is_pg, const char *path, const struct sql_limits *limits,
             uint64_t *id) {
    ASSERT_OWNER(s->loop);
    sweep(s);
    if (s->n_files >= SQL_OPEN_MAX) return E_FULL;
    struct file *f = new_file(s, is_pg, path, limits);
    int err = s->threads ? start(f) : 0;
    if (err < 0) {
        unref(f);
        return err;
    }
    f->id = *id = ++s->last_id;
    list_add(&s->files, &f->node);
    s->n_files++;
    return 0;
}

/* No new questions; what runs is stopped. */
static void begin_end(struct sql *s, struct file *f) {
    if (f->gone) return;
    f->gone = true;
    s->n_files--;
    pthread_mutex_lock(&f->lock);
    atomic_store(&f->closed, true);
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

void sql_close(struct sql *s, uint64_t id) {
    ASSERT_OWNER(s->loop);
    struct file *f = find(s, id);
    if (f) begin_end(s, f);
    sweep(s);
}

/* ---- Asking --------------------------------------------------------------------------- */

static int queue(struct file *f, struct question *q) {
    pthread_mutex_lock(&f->lock);
    bool full = f->n_queue >= SQL_QUEUE_MAX;
    if (!full) {
        list_add(&f->queue, &q->node);
        f->n_queue++;
        pthread_cond_broadcast(&f->changed);
    }
    pthread_mutex_unlock(&f->lock);
    return full ? E_FULL : 0;
}

int sql_ask(struct sql *s, uint64_t id, const struct sql_question *what,
            uint64_t *ticket) {
    ASSERT_OWNER(s->loop);
    struct file *f = find(s, id);
    if (!f) return E_CLOSED;
    struct question *q = new_question(what);
    if (!q) return E_NOMEM;
    q->sql = s;
    q->ticket = ++s->last_id;
    list_add(&s->asked, &q->asked); /* before its thread can answer */
    s->n_asked++;
    if (!s->threads) {
        carry_out(f, q);
        mailbox_post(&s->loop->mailbox, &q->message, on_done);
    } else if (queue(f, q) < 0) {
        forget(q);
        return E_FULL;
    }
    *ticket = q->ticket;
    return 0;
}

void sql_cancel(struct sql *s, uint64_t ticket) {
    ASSERT_OWNER(s->loop);
    for (struct list *node = s->asked.next; node != &s->asked; node = node->next) {
        struct question *q = container_of(node, struct question, asked);
        if (q->ticket == ticket) atomic_store(&q->cancelled, true);
    }
}

/* ---- Life ----------------------------------------------------------------------------- */

struct sql *sql_new(struct loop *loop, bool threads, sql_on_answer *on_answer,
                    void *context) {
    struct sql *s = mem_new(sizeof *s);
    *s = (struct sql){
        .loop = loop, .threads = threads, .on_answer = on_answer, .context = context};
    list_init(&s->files);
    list_init(&s->asked);
    return s;
}

/* Its thread hangs: what it has is its own from now on. */
static void abandon(struct sql *s, struct file *f) {
    f->loop = NULL;
    for (struct list *node = f->queue.next; node != &f->queue; node = node->next) {
        list_remove(&container_of(node, struct question, node)->asked);
        s->n_asked--;
    }
}

static void end_file(struct sql *s, struct file *f, const struct timespec *till) {
    int rc = 0;
    pthread_mutex_lock(&f->lock);
    while (!f->ended && rc == 0) rc = pthread_cond_timedwait(&f->changed, &f->lock, till);
    if (!f->ended) abandon(s, f);
    pthread_mutex_unlock(&f->lock);
    list_remove(&f->node);
    unref(f);
}

void sql_free(struct sql *s) {
    if (!s) return;
    int64_t end = sql_now_ms() + SQL_END_MS;
    struct timespec till = {.tv_sec = end / 1000, .tv_nsec = end % 1000 * 1000000};
    for (struct list *node = s->files.next; node != &s->files; node = node->next)
        begin_end(s, container_of(node, struct file, node));
    while (!list_empty(&s->files))
        end_file(s, container_of(s->files.next, struct file, node), &till);
    s->freed = true;
    if (s->n_asked == 0) mem_free(s); /* else with the last message */
}
