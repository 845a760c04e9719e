/* One thread for each hash, which ends with it; see scrypt.h. The job is shared by the thread
 * and the one that asked, whichever is the last frees it. */
#include "crypto/scrypt.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/status.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NICE 10 /* below the threads that serve */

struct scrypt_job {
    atomic_uint refs;
    atomic_bool done; /* from then on the thread touches nothing but refs */
    int err;
    struct scrypt_cost cost;
    size_t n_password, n_salt;
    unsigned char result[SCRYPT_BYTES];
    char text[]; /* the password, then the salt */
};

static atomic_uint computing;

bool scrypt_is_sane(struct scrypt_cost c) {
    if (c.log2n < 1 || c.log2n > 30 || c.r < 1 || c.r > 64) return false;
    if (c.p < 1 || c.p > SCRYPT_ROUNDS_MAX) return false;
    return ((uint64_t)128 * c.r << c.log2n) <= SCRYPT_MEMORY_MAX;
}

int scrypt_hash(struct slice password, struct slice salt, struct scrypt_cost c,
                unsigned char out[SCRYPT_BYTES]) {
    /* more than it needs, since OpenSSL counts its own small change too */
    bool good =
        EVP_PBE_scrypt(password.n > 0 ? password.p : "", password.n,
                       (const unsigned char *)salt.p, salt.n, (uint64_t)1 << c.log2n, c.r,
                       c.p, (uint64_t)2 * SCRYPT_MEMORY_MAX, out, SCRYPT_BYTES) == 1;
    if (!good) ERR_clear_error();
    return good ? 0 : E_NOMEM;
}

static void unref(struct scrypt_job *job) {
    if (atomic_fetch_sub(&job->refs, 1) > 1) return;
    OPENSSL_cleanse(job->text, job->n_password);
    OPENSSL_cleanse(job->result, sizeof job->result);
    mem_free(job);
}

static void *compute(void *arg) {
    struct scrypt_job *job = arg;
    pthread_setname_np(pthread_self(), "sluice-scrypt");
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
    job->err = scrypt_hash(slice_of(job->text, job->n_password),
                           slice_of(job->text + job->n_password, job->n_salt), job->cost,
                           job->result);
    atomic_fetch_sub(&computing, 1);
    atomic_store(&job->done, true);
    unref(job);
    return NULL;
}

/* Signals are for the threads that serve. 0 or a negative errno. */
static int start_thread(struct scrypt_job *job) {
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    if (pthread_attr_init(&attr) != 0) return E_NOMEM;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&thread, &attr, compute, job);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return -err;
}

static struct scrypt_job *job_new(struct slice password, struct slice salt,
                                  struct scrypt_cost cost) {
    struct scrypt_job *job = mem_try(sizeof *job + password.n + salt.n);
    if (!job) return NULL;
    *job = (struct scrypt_job){
        .refs = 2, .cost = cost, .n_password = password.n, .n_salt = salt.n};
    memcpy(job->text, password.p, password.n);
    memcpy(job->text + password.n, salt.p, salt.n);
    return job;
}

int scrypt_start(struct scrypt_job **out, struct slice password, struct slice salt,
                 struct scrypt_cost cost) {
    if (atomic_fetch_add(&computing, 1) >= SCRYPTS_MAX) {
        atomic_fetch_sub(&computing, 1);
        return E_BUSY;
    }
    struct scrypt_job *job = job_new(password, salt, cost);
    int err = job ? start_thread(job) : E_NOMEM;
    if (err == 0) {
        *out = job;
        return 0;
    }
    atomic_fetch_sub(&computing, 1);
    if (job) atomic_store(&job->refs, 1);
    if (job) unref(job);
    return err;
}

bool scrypt_done(const struct scrypt_job *job, int *err,
                 unsigned char out[SCRYPT_BYTES]) {
    if (!atomic_load(&job->done)) return false;
    *err = job->err;
    memcpy(out, job->result, SCRYPT_BYTES);
    return true;
}

void scrypt_leave(struct scrypt_job *job) {
    if (job) unref(job);
}
