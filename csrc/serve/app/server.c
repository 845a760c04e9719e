/* Made, started, run, stopped and freed; see server.h. */
#include "serve/app/server.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"
#include "net/ring.h"
#include "serve/app/accounts.h"
#include "serve/app/certificates.h"
#include "serve/app/command.h"
#include "serve/app/durable.h"
#include "serve/app/registry.h"
#include "serve/app/shared.h"
#include "serve/app/sweep.h"
#include "serve/app/top.h"
#include "serve/app/watch.h"
#include "serve/cluster.h"
#include "serve/io/listener.h"
#include "serve/io/stop.h"
#include "serve/io/worker.h"
#include "serve/to_io.h"

#include <signal.h>
#include <unistd.h>

/* ---- Life --------------------------------------------------------------------------- */

static void on_wake(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)ev, (void)events;
    struct server *s = timer->data;
    if (s->events->on_timer) s->events->on_timer(s->context);
}

static void on_sweep(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)ev, (void)events;
    struct server *s = timer->data;
    app_lag_second(&s->lag);
    s->swept_ms = clock_ms();
    sweep_run(s, s->swept_ms);
    if (!s->hub.cluster) return;
    cluster_app_answers(s->hub.cluster);
    shared_tick(s);
}

static void on_before_sleep(struct ev_loop *ev, struct ev_prepare *p, int events) {
    (void)ev, (void)events;
    struct server *s = p->data;
    seq_wake(&s->hub.seq); /* what was published in this turn is surely on its way */
    if (s->hub.cluster) cluster_flush(s->hub.cluster);
    if (s->durable || s->hub.cluster) server_take_in(s, seq_take_own(&s->hub.seq));
    server_catch_up(s);
}

int server_new(struct server **out, struct serve_options *options,
               const struct server_events *events, void *context) {
    struct server *s = mem_new(sizeof *s);
    int err = loop_init(&s->loop, s);
    if (err < 0) {
        serve_options_free(options);
        mem_free(s);
        return err;
    }
    hub_init(&s->hub, options, &s->loop);
    groups_init(&s->groups);
    registry_init(s);
    map_init(&s->requests, server_request_key);
    map_init(&s->accounts, account_key);
    budgets_init(&s->budgets);
    list_init(&s->shared_wants);
    s->hub.seq.on_own = app_on_frame;
    s->events = events;
    s->context = context;
    fan_init(&s->fan, &(struct fan_setup){.loop = &s->loop,
                                          .epoch = s->hub.seq.epoch,
                                          .log_head = &s->hub.seq.head,
                                          .seed = 1});
    ev_timer_init(&s->wake, on_wake, 0, 0);
    s->wake.data = s;
    ev_timer_init(&s->sweep, on_sweep, 1, 1);
    s->sweep.data = s;
    ev_prepare_init(&s->before_sleep, on_before_sleep);
    s->before_sleep.data = s;
    ev_prepare_start(s->loop.ev, &s->before_sleep);
    s->port = s->hub.options.port;
    s->memory_logged_ms = -1;
    s->wake_at = -1;
    *out = s;
    return 0;
}

/* ---- Start -------------------------------------------------------------------------- */

/* A listening socket for each worker, all on one port; -1 in a rehearsal, and where sockets
 * were handed over. */
static int open_listeners(struct server *s, int *fds, unsigned n) {
    const struct serve_options *o = &s->hub.options;
    for (unsigned i = 0; i < IO_THREADS_MAX; i++) fds[i] = -1;
    if (o->rehearsal || o->n_handed > 0) return 0;
    int err = listener_check(o->host, s->port);
    for (unsigned i = 0; err == 0 && i < n; i++) {
        int fd = listener_open(o->host, &s->port, o->stall_timeout_ms);
        if (fd < 0) err = fd;
        else fds[i] = fd;
    }
    return err;
}

/* One that was asked for must be there; otherwise all threads do without when one has to. */
static int give_ring(struct server *s, struct worker *w) {
    enum ring_use *use = &s->hub.options.io_uring;
    int err = *use == RING_OFF ? 0 : worker_give_ring(w);
    if (err == 0) return 0;
    if (*use == RING_ON) {
        s->failed = START_RING;
        return err;
    }
    log_printf(LOG_INFO, "io_uring is not used: %s", ring_problem(err));
    *use = RING_OFF;
    for (unsigned i = 0; i < s->hub.n_lanes; i++) socks_end(&s->workers[i].socks);
    return 0;
}

/* Each thread takes connections from all of them; the first one's port is the server's. */
static int adopt_listeners(struct server *s, struct worker *w) {
    const struct serve_options *o = &s->hub.options;
    for (unsigned i = o->n_handed; i-- > 0;) {
        int fd = listener_adopt(o->handed[i], &s->port, o->stall_timeout_ms);
        if (fd < 0) {
            s->failed = START_LISTEN;
            return fd;
        }
        worker_listen(w, fd, true);
    }
    return 0;
}

/* A worker for each socket of the list (takes those that it has used: -1 then). */
static int make_workers(struct server *s, int *fds, unsigned n) {
    s->workers = mem_new(n * sizeof *s->workers);
    for (unsigned i = 0; i < n; i++) {
        struct worker *w = &s->workers[i];
        int err = worker_init(w, &s->hub, i);
        if (err < 0) return err;
        hub_add(&s->hub, &w->lane);
        err = give_ring(s, w);
        if (err < 0) return err;
        err = adopt_listeners(s, w);
        if (err < 0) return err;
        if (fds[i] >= 0) worker_listen(w, fds[i], false);
        fds[i] = -1;
    }
    return 0;
}

/* A socket beside those of clients: its descriptor, or a negative code. */
static int open_beside(const struct server *s, uint16_t *port) {
    const struct serve_options *o = &s->hub.options;
    int err = listener_check(o->metrics_host, *port);
    return err < 0 ? err : listener_open(o->metrics_host, port, o->stall_timeout_ms);
}

/* The port that has metrics and nothing else, at the first worker. */
static int open_metrics(struct server *s) {
    const struct serve_options *o = &s->hub.options;
    if (!o->has_metrics || o->rehearsal) return 0;
    uint16_t port = o->metrics_port;
    int fd = open_beside(s, &port);
    if (fd < 0) return fd;
    s->metrics_port = port;
    worker_listen_scrapers(&s->workers[0], fd);
    return 0;
}

/* The port for HAProxy's agents, too. */
static int open_agent(struct server *s) {
    const struct serve_options *o = &s->hub.options;
    if (!o->has_agent || o->rehearsal) return 0;
    uint16_t port = o->agent_port;
    int fd = open_beside(s, &port);
    if (fd < 0) return fd;
    s->agent_port = port;
    worker_listen_agents(&s->workers[0], fd);
    return 0;
}

/* A socket that was asked for must be there; without the usual one the server runs, and
 * says what that means. */
static int open_control(struct server *s) {
    const struct serve_options *o = &s->hub.options;
    int err = o->control ? control_open(&s->workers[0], s->port) : 0;
    if (err == 0 || o->control_needed) return err;
    log_printf(LOG_WARN,
               "no Unix socket at %s: %s; sluice reload does not reach this server",
               o->control, control_problem(err));
    return 0;
}

/* None begins to run before all are there, so that a failure finds nothing that moves. */
static int start_threads(struct server *s) {
    unsigned n = 0;
    int err = 0;
    pthread_mutex_lock(&s->hub.gate);
    while (n < s->hub.n_lanes && (err = worker_start(&s->workers[n])) == 0) n++;
    s->hub.started = err == 0;
    pthread_mutex_unlock(&s->hub.gate);
    for (unsigned i = 0; err < 0 && i < n; i++) worker_join(&s->workers[i]);
    return err;
}

static int start(struct server *s, int *fds) {
    const struct serve_options *o = &s->hub.options;
    s->failed = START_LISTEN;
    int err = open_listeners(s, fds, o->io_threads);
    if (err < 0) return err;
    s->failed = START_THREADS;
    err = make_workers(s, fds, o->io_threads);
    if (err < 0) return err;
    s->failed = START_METRICS;
    err = open_metrics(s);
    if (err < 0) return err;
    s->failed = START_AGENT;
    err = open_agent(s);
    if (err < 0) return err;
    s->failed = START_TLS;
    err = certificates_open(s);
    if (err < 0) return err;
    s->failed = START_CONTROL;
    err = open_control(s);
    if (err < 0) return err;
    s->failed = START_THREADS;
    err = o->signals ? stop_init(&s->workers[0]) : 0;
    if (err < 0) return err;
    for (unsigned i = 0; i < s->hub.n_lanes; i++)
        durable_restore(s, &s->workers[i].fan, &s->workers[i].lane);
    if (s->routes) command_configure(s, s->routes, s->fan.chans.policies.set);
    s->failed = START_STORE;
    err = durable_run(s);
    if (err < 0) return err;
    s->failed = START_CLUSTER;
    err = s->hub.cluster ? cluster_run(s->hub.cluster) : 0;
    if (err < 0) return err;
    s->failed = START_THREADS;
    if (!o->rehearsal) return start_threads(s);
    worker_begin(&s->workers[0]);
    s->hub.started = true;
    return 0;
}

/* As it was before the start. */
static void undo_start(struct server *s) {
    if (s->hub.cluster) cluster_close(s->hub.cluster);
    for (unsigned i = 0; i < s->hub.n_lanes; i++) worker_deinit(&s->workers[i]);
    mem_free(s->workers);
    s->workers = NULL;
    hub_clear(&s->hub);
    tls_server_free(s->hub.tls);
    s->hub.tls = NULL;
    s->port = s->hub.options.port;
}

int server_start(struct server *s) {
    ASSERT_OWNER(&s->loop);
    certificates_close(s); /* of a start that failed: they could say why until now */
    int fds[IO_THREADS_MAX];
    sigset_t before;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    log_start();
    int err = start(s, fds);
    if (err == 0) {
        if (!s->hub.options.rehearsal) {
            ev_timer_start(s->loop.ev, &s->sweep);
            app_lag_start(&s->lag, s->loop.ev);
            certificates_watch(s);
        }
        return 0;
    }
    for (unsigned i = 0; i < s->hub.options.io_threads; i++)
        if (fds[i] >= 0) close(fds[i]);
    undo_start(s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    log_stop();
    return err;
}

static const char *listen_problem(int err) {
    switch (err) {
    case E_ADDRESS: return "the host is an IP address or localhost";
    case -EADDRINUSE:
        return "address already in use: choose another port, 0 takes a free one";
    case -EADDRNOTAVAIL: return "this machine has no such address";
    case -EACCES:
        return "permission denied: ports below 1024 need a right (doc/tls.md), a proxy, "
               "or another number";
    default: return status_text(err);
    }
}

const char *server_problem(const struct server *s, int err) {
    if (s->failed == START_CONTROL) return control_problem(err);
    if (s->failed == START_RING) return ring_problem(err);
    if (s->failed == START_CLUSTER && err == E_CONNECT)
        return cluster_trouble(s->hub.cluster);
    if (s->failed == START_TLS && certificates_problem(s)) return certificates_problem(s);
    return listen_problem(err);
}

/* ---- Running and stopping ----------------------------------------------------------- */

void server_run(struct server *s) {
    s->running = true;
    loop_own(&s->loop);
    if (s->finished < s->hub.n_lanes) loop_run(&s->loop);
    s->running = false;
}

static void on_hooks_late(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)ev, (void)events;
    server_drain(timer->data);
}

void server_stop(struct server *s) {
    ASSERT_OWNER(&s->loop);
    if (atomic_exchange(&s->hub.stopping, true)) return;
    hub_note_stop(&s->hub);
    ev_timer_init(&s->hooks, on_hooks_late, STOP_HOOKS_MS / 1000.0, 0);
    s->hooks.data = s;
    ev_timer_start(s->loop.ev, &s->hooks);
    if (s->events->on_stopping) s->events->on_stopping(s->context);
}

void server_drain(struct server *s) {
    ASSERT_OWNER(&s->loop);
    ev_timer_stop(s->loop.ev, &s->hooks);
    if (!atomic_exchange(&s->hub.draining, true))
        to_io_drain_all(&s->hub, s->hub.options.drain_ms, false);
}

void server_leave(struct server *s) {
    ASSERT_OWNER(&s->loop);
    if (s->running) loop_break(&s->loop);
}

void app_on_finished(void *owner, struct message *m) {
    (void)m;
    struct server *s = owner;
    if (++s->finished < s->hub.n_lanes) return;
    if (!s->events->on_drained || !s->events->on_drained(s->context)) server_leave(s);
}

static void drop_clients(struct server *s, struct map *clients) {
    for (struct map_node *node; (node = map_next(clients, NULL));) {
        struct client *c = container_of(node, struct client, node);
        registry_leave(s, c);
        registry_forget(s, c);
    }
}

/* Requests that are not answered any more, and clients. */
static void drop_tables(struct server *s) {
    for (struct map_node *node; (node = map_next(&s->requests, NULL));) {
        map_remove(&s->requests, node);
        request_unref(container_of(node, struct request, node));
    }
    top_free(s->top);
    drop_clients(s, &s->clients);
    drop_clients(s, &s->hidden);
    map_deinit(&s->requests);
    registry_deinit(s);
    accounts_free(s);
    groups_deinit(&s->groups);
    budgets_deinit(&s->budgets);
    tickets_deinit(&s->shared_tickets);
}

static const struct server_events silence;

void server_free(struct server *s) {
    if (!s) return;
    s->events = &silence; /* from here on nothing is reported */
    if (s->hub.started && !s->hub.options.rehearsal) {
        to_io_drain_all(&s->hub, -1, false);
        for (unsigned i = 0; i < s->hub.n_lanes; i++) worker_join(&s->workers[i]);
    }
    durable_close(s);
    shared_close(s);
    mailbox_drain(&s->loop.mailbox, INT32_MAX);
    for (unsigned i = 0; i < s->hub.n_lanes; i++) worker_deinit(&s->workers[i]);
    mailbox_drain(&s->hub.deferred, INT32_MAX);
    mailbox_drain(&s->loop.mailbox, INT32_MAX);
    server_take_in(s, seq_take_own(&s->hub.seq));
    durable_free(s);
    drop_tables(s);
    watch_set(s, NULL, 0);
    certificates_close(s);
    fan_deinit(&s->fan);
    routes_unref(s->routes);
    ev_prepare_stop(s->loop.ev, &s->before_sleep);
    ev_timer_stop(s->loop.ev, &s->wake);
    ev_timer_stop(s->loop.ev, &s->sweep);
    app_lag_stop(&s->lag);
    ev_timer_stop(s->loop.ev, &s->hooks);
    loop_deinit(&s->loop);
    if (s->hub.started) log_stop();
    hub_deinit(&s->hub);
    mem_free(s->workers);
    mem_free(s);
}

void server_wake_at(struct server *s, double at) {
    ASSERT_OWNER(&s->loop);
    s->wake_at = at;
    if (s->hub.options.rehearsal) return;
    ev_timer_stop(s->loop.ev, &s->wake);
    if (at < 0) return;
    double after = at - clock_seconds();
    ev_now_update(s->loop.ev);
    ev_timer_set(&s->wake, after > 0 ? after : 0, 0);
    ev_timer_start(s->loop.ev, &s->wake);
}

void server_install(struct server *s, const struct configuration *wanted) {
    ASSERT_OWNER(&s->loop);
    struct cluster *cluster = s->hub.cluster;
    routes_unref(s->routes);
    s->routes = routes_ref(wanted->routes);
    if (cluster) cluster_hold(cluster, wanted->policies);
    command_configure(s, wanted->routes, wanted->policies);
    if (cluster) cluster_let_go(cluster);
    server_want_news(s, wanted->news);
}

int server_configure(struct server *s, const struct configuration *wanted,
                     uint64_t *ticket) {
    ASSERT_OWNER(&s->loop);
    *ticket = 0;
    if (durable_converts(s, wanted->policies)) return durable_convert(s, wanted, ticket);
    server_install(s, wanted);
    durable_limits(s);
    return 0;
}

/* ---- Signals ------------------------------------------------------------------------ */

void app_on_signal(void *owner, struct message *m) {
    struct server *s = owner;
    struct signal_message *signal = container_of(m, struct signal_message, message);
    if (s->events->on_signal) s->events->on_signal(s->context, signal->number);
    mem_free(signal);
}
