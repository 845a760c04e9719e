/* The threads of mails; see mails.h. */
#include "edge/mails.h"

#include "base/bounds.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/status.h"

#include <signal.h>
#include <time.h>

/* Shared by the owner and the threads: the last one frees it. */
struct mails {
    mails_on_done *on_done;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct loop
        *loop; /* where ends go; NULL: the owner has gone. Under the lock, as below */
    struct list queue;
    unsigned threads, refs;
};

struct mails_job {
    struct message message;
    struct list node; /* in the queue */
    struct mails *owner;
    struct mail *mail;
    void *tag;
    bool queued;         /* under the lock */
    bool reported, left; /* the owner's */
};

static void free_job(struct mails_job *job) {
    mail_free(job->mail);
    mem_free(job);
}

static void unref(struct mails *p) {
    pthread_mutex_lock(&p->lock);
    bool last = --p->refs == 0;
    pthread_mutex_unlock(&p->lock);
    if (!last) return;
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

/* [owner of the loop] */
static void on_done(void *owner, struct message *m) {
    struct mails_job *job = container_of(m, struct mails_job, message);
    (void)owner;
    job->reported = true;
    if (job->left) free_job(job); /* the mails may have gone */
    else job->owner->on_done(job->tag);
}

/* ---- A thread --------------------------------------------------------------------------- */

/* NULL: there is none, and the thread has ended for the others. */
static struct mails_job *next(struct mails *p) {
    struct mails_job *job = NULL;
    pthread_mutex_lock(&p->lock);
    if (list_empty(&p->queue)) {
        p->threads--;
        pthread_cond_broadcast(&p->changed);
    } else {
        job = container_of(p->queue.next, struct mails_job, node);
        list_remove(&job->node);
        job->queued = false;
    }
    pthread_mutex_unlock(&p->lock);
    return job;
}

static void hand_over(struct mails *p, struct mails_job *job) {
    pthread_mutex_lock(&p->lock);
    bool taken = p->loop != NULL;
    if (taken) mailbox_post(&p->loop->mailbox, &job->message, on_done);
    pthread_mutex_unlock(&p->lock);
    if (!taken) free_job(job);
}

static void *run(void *arg) {
    struct mails *p = arg;
    pthread_setname_np(pthread_self(), "sluice-mail");
    for (struct mails_job *job; (job = next(p));) {
        mail_perform(job->mail);
        hand_over(p, job);
    }
    unref(p);
    return NULL;
}

/* Under the lock. Signals are for the threads that serve. */
static int start(struct mails *p) {
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    if (pthread_attr_init(&attr) != 0) return E_NOMEM;
    sigfillset(&all);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = -pthread_create(&thread, &attr, run, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (err < 0) return err;
    p->threads++;
    p->refs++;
    return 0;
}

/* ---- The owner -------------------------------------------------------------------------- */

int mails_send(struct mails *p, struct mail *mail, void *tag, struct mails_job **out) {
    ASSERT_OWNER(p->loop);
    struct mails_job *job = mem_new(sizeof *job);
    *job = (struct mails_job){.owner = p, .mail = mail, .tag = tag, .queued = true};
    pthread_mutex_lock(&p->lock);
    list_add(&p->queue, &job->node);
    int err = p->threads < MAIL_THREADS_MAX ? start(p) : 0;
    if (p->threads > 0) err = 0; /* there is one, which comes to it */
    if (err < 0) list_remove(&job->node);
    pthread_mutex_unlock(&p->lock);
    if (err < 0) free_job(job);
    else *out = job;
    return err;
}

/* Whether no thread has it yet: then it is the owner's alone. */
static bool withdraw(struct mails_job *job) {
    struct mails *p = job->owner;
    pthread_mutex_lock(&p->lock);
    bool queued = job->queued;
    if (queued) list_remove(&job->node);
    job->queued = false;
    pthread_mutex_unlock(&p->lock);
    return queued;
}

void mails_cut(struct mails_job *job) {
    if (job->reported) return;
    bool alone = withdraw(job);
    mail_cut(job->mail);
    if (!alone) return;
    mail_perform(job->mail); /* which says that it was cut */
    hand_over(job->owner, job);
}

void mails_leave(struct mails_job *job) {
    if (job->reported || withdraw(job)) {
        free_job(job);
        return;
    }
    job->left = true;
    mail_cut(job->mail);
}

const struct mail *mails_mail(const struct mails_job *job) {
    return job->mail;
}

/* ---- Life ------------------------------------------------------------------------------- */

struct mails *mails_new(struct loop *loop, mails_on_done *done) {
    struct mails *p = mem_new(sizeof *p);
    pthread_condattr_t attr;
    *p = (struct mails){.loop = loop, .on_done = done, .refs = 1};
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->changed, &attr);
    pthread_condattr_destroy(&attr);
    list_init(&p->queue);
    return p;
}

void mails_free(struct mails *p) {
    if (!p) return;
    struct timespec till;
    int rc = 0;
    clock_gettime(CLOCK_MONOTONIC, &till);
    till.tv_sec += MAIL_END_MS / 1000;
    pthread_mutex_lock(&p->lock);
    while (p->threads > 0 && rc == 0)
        rc = pthread_cond_timedwait(&p->changed, &p->lock, &till);
    p->loop = NULL; /* a thread that hangs frees what it has when it comes back */
    pthread_mutex_unlock(&p->lock);
    unref(p);
}
