/* A thread for each name, which shares a counted object with the loop; see resolve.h. */
#include "cluster/resolve.h"

#include "base/mem.h"

#include <netdb.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct resolve {
    /* Shared: the last of both frees it. */
    atomic_int refs;
    int done; /* an eventfd: the result is there */
    char host[256], port[8];
    struct resolved result; /* the thread's until then */
    /* The loop's. */
    struct loop *loop;
    struct ev_io io;
    resolve_fn *fn;
    void *owner;
};

static void unref(struct resolve *r) {
    if (atomic_fetch_sub(&r->refs, 1) != 1) return;
    if (r->done >= 0) close(r->done);
    mem_free(r);
}

static void look_up(struct resolve *r, int flags) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags}, *all = NULL;
    int err = getaddrinfo(r->host, r->port, &hints, &all);
    for (struct addrinfo *a = err ? NULL : all; a; a = a->ai_next) {
        struct wire_address *to = &r->result.addresses[r->result.n];
        if (r->result.n == LINK_ADDRESSES_MAX || a->ai_addrlen > sizeof to->address)
            break;
        memcpy(&to->address, a->ai_addr, a->ai_addrlen);
        to->size = a->ai_addrlen;
        r->result.n++;
    }
    if (all) freeaddrinfo(all);
    if (r->result.n == 0)
        snprintf(r->result.why, sizeof r->result.why, "%s", gai_strerror(err));
}

static void say_done(struct resolve *r) {
    uint64_t one = 1;
    (void)!write(r->done, &one, sizeof one);
    unref(r);
}

static void *run(void *arg) {
    struct resolve *r = arg;
    pthread_setname_np(pthread_self(), "sluice-resolve");
    look_up(r, AI_ADDRCONFIG);
    say_done(r);
    return NULL;
}

/* Signals are for the threads that serve. */
static int start_thread(struct resolve *r) {
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    if (pthread_attr_init(&attr) != 0) return -1;
    sigfillset(&all);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&thread, &attr, run, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return err ? -1 : 0;
}

static void on_done(struct ev_loop *ev, struct ev_io *io, int events) {
    struct resolve *r = io->data;
    uint64_t n;
    (void)events;
    if (read(r->done, &n, sizeof n) != sizeof n) return;
    ev_io_stop(ev, io);
    r->fn(r->owner, &r->result);
    unref(r);
}

struct resolve *resolve_start(struct loop *loop, const char *host, uint16_t port,
                              resolve_fn *fn, void *owner) {
    ASSERT_OWNER(loop);
    struct resolve *r = mem_new(sizeof *r);
    atomic_init(&r->refs, 2);
    r->loop = loop;
    r->fn = fn;
    r->owner = owner;
    r->done = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert(r->done >= 0); /* a process without descriptors for its own ends here */
    snprintf(r->host, sizeof r->host, "%s", host);
    snprintf(r->port, sizeof r->port, "%u", port);
    ev_io_init(&r->io, on_done, r->done, EV_READ);
    r->io.data = r;
    ev_io_start(loop->ev, &r->io);
    look_up(r, AI_NUMERICHOST);
    if (r->result.n > 0) {
        say_done(r);
    } else if (start_thread(r) < 0) {
        snprintf(r->result.why, sizeof r->result.why, "no thread for it");
        say_done(r);
    }
    return r;
}

void resolve_forget(struct resolve *r) {
    if (!r) return;
    ev_io_stop(r->loop->ev, &r->io);
    unref(r);
}
