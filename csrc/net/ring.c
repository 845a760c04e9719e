/* io_uring; see ring.h. */
#include "net/ring.h"

#include "base/bounds.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/status.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef HAVE_LIBURING
#include <liburing.h>

struct ring {
    struct io_uring io;
    unsigned flags;
    /* Of writes of two pieces, as long as they are in the kernel. */
    struct msghdr messages[RING_BATCH];
    struct iovec parts[RING_BATCH][2];
};

/* ---- Life --------------------------------------------------------------------------- */

/* What kernels have had since 6.1, 6.0 and 5.19, the best first. One that knows its thread is
 * disabled until that begins. */
static const unsigned wanted[] = {
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN |
        IORING_SETUP_SUBMIT_ALL | IORING_SETUP_R_DISABLED,
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL |
        IORING_SETUP_R_DISABLED,
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL, 0};

static int open_ring(struct ring *r) {
    int err = -EINVAL;
    for (size_t i = 0; err == -EINVAL && i < sizeof wanted / sizeof *wanted; i++) {
        r->flags = wanted[i];
        err = fault_here() ? -ENOMEM : io_uring_queue_init(RING_BATCH, &r->io, r->flags);
    }
    return err;
}

int ring_begin(struct ring *r) {
    if (r->flags & IORING_SETUP_R_DISABLED) {
        /* Debian's liburing 2.3 declares a function for it and does not hold it. */
        long err = syscall(SYS_io_uring_register, r->io.ring_fd,
                           IORING_REGISTER_ENABLE_RINGS, NULL, 0);
        if (err < 0) return -errno;
    }
    io_uring_register_ring_fd(&r->io); /* spares a look-up; without it all works */
    return 0;
}

void ring_free(struct ring *r) {
    if (!r) return;
    io_uring_queue_exit(&r->io);
    mem_free(r);
}

/* ---- Sending ------------------------------------------------------------------------ */

static void prepare(struct ring *r, const struct sock_write *w, uint32_t index) {
    const int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&r->io);
    assert(sqe); /* as many as there may be writes */
    if (w->head.n == 0) {
        io_uring_prep_send(sqe, w->fd, w->body.p, w->body.n, flags);
    } else {
        struct iovec *parts = r->parts[index];
        parts[0] = (struct iovec){(char *)w->head.p, w->head.n};
        parts[1] = (struct iovec){(char *)w->body.p, w->body.n};
        r->messages[index] =
            (struct msghdr){.msg_iov = parts, .msg_iovlen = w->body.n > 0 ? 2 : 1};
        io_uring_prep_sendmsg(sqe, w->fd, &r->messages[index], flags);
    }
    io_uring_sqe_set_data64(sqe, index);
}

/* How many results came. */
static uint32_t collect(struct ring *r, struct sock_write *writes) {
    struct io_uring_cqe *cqe;
    unsigned at;
    uint32_t n = 0;
    io_uring_for_each_cqe(&r->io, at, cqe) {
        ssize_t result = cqe->res;
        bool full = result == -EAGAIN || result == -EINTR;
        writes[cqe->user_data].result = full ? 0 : result;
        n++;
    }
    io_uring_cq_advance(&r->io, n);
    return n;
}

static int go_in(struct ring *r, bool submit) {
    return submit ? io_uring_submit(&r->io) : io_uring_get_events(&r->io);
}

/* Of the first 'begun' of n writes that are in the kernel, those without a result: they must
 * not be sent a second time, so their connections end. */
static void give_up(struct sock_write *writes, uint32_t n, uint32_t begun) {
    for (uint32_t i = 0; i < n && begun > 0; i++) {
        if (sock_write_is_empty(&writes[i])) continue;
        if (writes[i].result == SOCK_QUEUED) writes[i].result = -ECANCELED;
        begun--;
    }
}

bool ring_send(struct ring *r, struct sock_write *writes, uint32_t n) {
    assert(n <= RING_BATCH);
    uint32_t all = 0, begun = 0, done = 0;
    for (uint32_t i = 0; i < n; i++) {
        writes[i].result = SOCK_QUEUED;
        if (sock_write_is_empty(&writes[i])) writes[i].result = 0;
        else prepare(r, &writes[i], i);
        all += writes[i].result == SOCK_QUEUED;
    }
    while (done < all) { /* once, unless the kernel lacks memory */
        int err = fault_here() ? -ENOMEM : go_in(r, begun < all);
        if (err > 0) begun += (uint32_t)err;
        uint32_t came = collect(r, writes);
        done += came;
        if (err < 0 || (err == 0 && came == 0)) break;
    }
    if (done < all) give_up(writes, n, begun);
    return done == all;
}

/* ---- Whether it does what is needed ------------------------------------------------- */

/* One write to a full socket and one to a socket with room: both results are there at once. */
static int try_pair(struct ring *r, const int *pair) {
    static const char bytes[512];
    while (send(pair[0], bytes, sizeof bytes, MSG_DONTWAIT) > 0) continue;
    struct sock_write writes[] = {
        {.fd = pair[0], .body = slice_of(bytes, sizeof bytes)},
        {.fd = pair[1], .head = slice_of(bytes, 1), .body = slice_of(bytes, 1)}};
    if (!ring_send(r, writes, 2)) return -EOPNOTSUPP;
    return writes[0].result == 0 && writes[1].result == 2 ? 0 : -EOPNOTSUPP;
}

static int prove(void) {
    struct ring *r = mem_new(sizeof *r);
    int pair[2], err = open_ring(r);
    if (err < 0) {
        mem_free(r);
        return err;
    }
    err = ring_begin(r);
    if (err == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        err = -errno;
    if (err == 0) {
        err = try_pair(r, pair);
        close(pair[0]);
        close(pair[1]);
    }
    ring_free(r);
    return err;
}

int ring_new(struct ring **out) {
    int err = prove();
    if (err < 0) return err;
    struct ring *r = mem_new(sizeof *r);
    err = open_ring(r);
    if (err < 0) mem_free(r);
    else *out = r;
    return err;
}

void ring_describe(const struct ring *r, char *text, size_t size) {
    snprintf(text, size, "yes%s%s%s",
             r->flags & IORING_SETUP_SINGLE_ISSUER ? ", SINGLE_ISSUER" : "",
             r->flags & IORING_SETUP_DEFER_TASKRUN ? ", DEFER_TASKRUN" : "",
             r->flags & IORING_SETUP_COOP_TASKRUN ? ", COOP_TASKRUN" : "");
}

const char *ring_problem(int err) {
    switch (err) {
    case -ENOSYS: return "this kernel has none";
    case -EPERM:
    case -EACCES:
        return "it is forbidden here: by the container's seccomp profile, or by "
               "kernel.io_uring_disabled";
    case -ENOMEM: return "the kernel has no memory for it (before Linux 5.12: ulimit -l)";
    case -EINVAL:
    case -EOPNOTSUPP: return "this kernel's is too old";
    default: return status_text(err);
    }
}

#else

int ring_new(struct ring **out) {
    *out = NULL;
    return -ENOSYS;
}

void ring_free(struct ring *r) {
    assert(!r);
}

int ring_begin(struct ring *r) {
    (void)r;
    return -ENOSYS;
}

bool ring_send(struct ring *r, struct sock_write *writes, uint32_t n) {
    (void)r;
    for (uint32_t i = 0; i < n; i++) writes[i].result = SOCK_QUEUED;
    return false;
}

void ring_describe(const struct ring *r, char *text, size_t size) {
    (void)r;
    snprintf(text, size, "no");
}

const char *ring_problem(int err) {
    (void)err;
    return "Sluice was built without liburing (install liburing-dev, then build it "
           "again)";
}

#endif
