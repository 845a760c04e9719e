/* Signals, and an app that does not answer; see stop.h. */
#include "serve/io/stop.h"

#include "base/fault.h"
#include "base/log.h"
#include "serve/io/worker.h"
#include "serve/to_app.h"
#include "serve/to_io.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* What happens now is logged at once, here, since the script may hang. */
static void log_end(const struct hub *hub, bool again) {
    unsigned long long n = hub_totals(hub).streams;
    const char *plural = n == 1 ? "" : "s";
    if (again) log_printf(LOG_WARN, "stopping now: %llu stream%s cut off", n, plural);
    else if (n == 0)
        log_printf(LOG_INFO, "stopping; send the signal again to stop at once");
    else
        log_printf(LOG_INFO,
                   "draining %llu stream%s, up to %g s; "
                   "send the signal again to stop at once",
                   n, plural, (double)hub->options.drain_ms / 1000);
}

static void take_signal(struct hub *hub, int number) {
    bool ends = number == SIGTERM || number == SIGINT;
    bool again = ends && atomic_exchange(&hub->signalled, true);
    if (ends) log_end(hub, again);
    if (again) {
        log_flush();
        _exit(1);
    }
    if (ends) hub_note_stop(hub);
    to_app_signal(hub, number);
}

static void on_signal(struct ev_loop *ev, struct ev_io *io, int events) {
    (void)ev, (void)events;
    struct worker *w = io->data;
    struct signalfd_siginfo info;
    while (read(io->fd, &info, sizeof info) == (ssize_t)sizeof info)
        take_signal(w->hub, (int)info.ssi_signo);
}

/* The first worker takes the signals of the process; every thread has them blocked. */
int stop_init(struct worker *w) {
    ASSERT_OWNER(&w->loop);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    int fd = fault_here() ? -1 : signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0) return -errno;
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ,
           SIG_IGN); /* a file that may not grow: the write fails, with its error */
    ev_io_init(&w->signals, on_signal, fd, EV_READ);
    w->signals.data = w;
    ev_io_start(w->loop.ev, &w->signals);
    return 0;
}

/* A stuck script cannot keep the server from stopping: if the app does not begin to drain,
 * this does. */
void stop_watch(struct worker *w) {
    ASSERT_OWNER(&w->loop);
    struct hub *hub = w->hub;
    int64_t stop = atomic_load_explicit(&hub->stop_ms, memory_order_relaxed);
    if (stop == 0) return;
    int64_t waited = w->now_ms - stop;
    if (waited > 2000 && !atomic_exchange(&hub->draining, true)) {
        log_write(LOG_WARN, "the app does not answer: draining without it", NULL, 0);
        to_io_drain_all(hub, hub->options.drain_ms, true);
    }
    if (waited > hub->options.drain_ms + END_STUCK_MS) {
        log_write(LOG_ERROR, "the app is stuck: the process ends without it", NULL, 0);
        log_flush();
        _exit(1);
    }
}
