/* The I/O thread; see worker.h. */
#include "serve/io/worker.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/status.h"
#include "net/ring.h"
#include "serve/cluster.h"
#include "serve/io/conn.h"
#include "serve/io/due.h"
#include "serve/io/exchange.h"
#include "serve/io/feeding.h"
#include "serve/io/hangups.h"
#include "serve/io/listener.h"
#include "serve/io/measure.h"
#include "serve/io/mux.h"
#include "serve/io/outlet.h"
#include "serve/io/poll.h"
#include "serve/io/secure.h"
#include "serve/io/stop.h"
#include "serve/report.h"
#include "serve/to_app.h"
#include "serve/to_io.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

uint32_t worker_retry(struct worker *w) {
    return rand_between(&w->random, RETRY_MIN_MS, RETRY_MAX_MS);
}

/* ---- The turn ----------------------------------------------------------------------- */

void worker_reap(struct worker *w) {
    while (!list_empty(&w->doomed))
        conn_free(container_of(w->doomed.next, struct conn, node));
}

static void show(_Atomic uint64_t *counter, uint64_t n) {
    atomic_store_explicit(counter, n, memory_order_relaxed);
}

static void count(struct worker *w) {
    struct lane_counters *c = &w->lane.counters;
    show(&c->delivered, w->fan.delivered);
    show(&c->delivered_bytes, w->fan.delivered_bytes);
    show(&c->slow, w->fan.slow);
    show(&c->compressions, w->fan.compressions);
    show(&c->compressed_from, w->fan.compressed_from);
    show(&c->compressed_to, w->fan.compressed_to);
    show(&c->rings, w->socks.ring != NULL);
}

static void report_finished(struct worker *w) {
    if (w->finished_sent) return;
    w->finished_sent = true;
    to_app_finished(&w->lane);
}

/* Drained: nothing is open, or the time is up. The first worker stays until the app lets
 * it go: it has the signals, and no other thread ends a process whose script hangs. */
static void check_drained(struct worker *w) {
    if (!w->draining) return;
    if (w->n_conns + w->handshakes.n > 0 && w->now_ms < w->drain_end_ms) return;
    while (!list_empty(&w->conns))
        conn_doom(container_of(w->conns.next, struct conn, node), END_DRAIN);
    worker_reap(w);
    report_finished(w);
    if (w->lane.index > 0 || w->released) loop_break(&w->loop);
}

/* Wake up for the next tick of the fan. In a rehearsal time is given. */
static void await_tick(struct worker *w) {
    int64_t next = fan_next(&w->fan);
    if (next == w->rates_at_ms || w->hub->options.rehearsal) return;
    w->rates_at_ms = next;
    ev_timer_stop(w->loop.ev, &w->rates);
    if (next == INT64_MAX) return;
    int64_t wait = next > w->now_ms ? next - w->now_ms : 0;
    ev_timer_set(&w->rates, (double)wait / 1000, 0);
    ev_timer_start(w->loop.ev, &w->rates);
}

static void on_rates(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)ev, (void)events;
    struct worker *w = timer->data;
    w->rates_at_ms = INT64_MAX; /* the flush of this turn looks, and arms it again */
    loop_look(&w->loop);        /* patient events may wait for it */
}

/* Events that come in numbers or close behind each other are a burst, which then goes on
 * without waking this thread for each of them. Patient ones never need to, but for readers
 * that the app does not know of. */
static void watch_burst(struct worker *w) {
    if (w->turn_events == 0 || w->hub->options.rehearsal) return;
    double now = ev_now(w->loop.ev);
    bool burst = w->turn_events > 1 || now - w->events_at < BURST_SECONDS;
    w->events_at = now;
    bool patient = w->turn_events == w->turn_patient && list_empty(&w->feedings);
    if (patient) loop_look_again(&w->loop, PROMISE_LATER);
    else if (burst) loop_look_again(&w->loop, PROMISE_SOON);
}

static void on_result(void *owner, ssize_t n) {
    struct conn *c = owner;
    outlet_on_result(&c->outlet, n);
}

/* True when streams can be served again at once. */
static bool report_results(struct worker *w) {
    sock_flush(&w->socks, on_result);
    return !list_empty(&w->fan.ready);
}

static void on_before_sleep(struct ev_loop *ev, struct ev_prepare *p, int events) {
    (void)events;
    struct worker *w = p->data;
    bool more = handshakes_go_on(w);
    more = fan_flush(&w->fan, 0) || more;
    if (w->socks.n > 0) more = report_results(w) || more;
    muxes_write(w);
    fan_settle(&w->fan);
    more = poll_give(w) || more;
    feeding_answer_all(w);
    muxes_write(w);
    await_tick(w);
    watch_burst(w);
    w->turn_bytes = w->turn_events = w->turn_patient = 0;
    worker_reap(w);
    more = more || !list_empty(&w->fan.ready) || !list_empty(&w->muxes);
    count(w);
    measure_report(w);
    if (more && !ev_is_active(&w->more)) ev_idle_start(ev, &w->more);
    else if (!more && ev_is_active(&w->more)) ev_idle_stop(ev, &w->more);
    histogram_add(&w->lane.counters.turns, histogram_us,
                  (uint64_t)(clock_us() - w->now_us), 1);
    check_drained(w);
}

static void read_clock(struct worker *w) {
    w->now_us = clock_us();
    w->now_ms = w->now_us / 1000;
    w->fan.now_ms = w->now_ms;
    w->wall_s = (int64_t)clock_wall();
}

/* What was published before a request was sent is here before that is answered. */
static void on_after_sleep(struct ev_loop *ev, struct ev_check *c, int events) {
    (void)ev, (void)events;
    struct worker *w = c->data;
    read_clock(w);
    if (!w->hub->options.rehearsal) loop_look(&w->loop);
}

/* Its being active keeps the loop from sleeping; the work is in on_before_sleep. */
static void on_more(struct ev_loop *ev, struct ev_idle *i, int events) {
    (void)ev, (void)i, (void)events;
}

static void on_due(void *owner, struct wheel_timer *t) {
    (void)owner;
    struct conn *c = container_of(t, struct conn, timer);
    if (!c->doomed) due_on_timer(c);
}

static void on_tick(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)ev, (void)events;
    struct worker *w = timer->data;
    wheel_advance(&w->wheel, w->now_ms, on_due, w);
    handshakes_on_tick(w);
    if (w->lane.index == 0) stop_watch(w);
}

/* ---- Life --------------------------------------------------------------------------- */

static void init_watchers(struct worker *w) {
    ev_prepare_init(&w->before_sleep, on_before_sleep);
    ev_check_init(&w->after_sleep, on_after_sleep);
    ev_set_priority(&w->after_sleep, EV_MAXPRI); /* the clock first */
    ev_idle_init(&w->more, on_more);
    ev_timer_init(&w->tick, on_tick, WHEEL_TICK_MS / 1000.0, WHEEL_TICK_MS / 1000.0);
    ev_timer_init(&w->rates, on_rates, 0, 0);
    w->rates_at_ms = INT64_MAX;
    w->before_sleep.data = w->after_sleep.data = w;
    w->tick.data = w->rates.data = w->signals.data = w;
    ev_prepare_start(w->loop.ev, &w->before_sleep);
    ev_check_start(w->loop.ev, &w->after_sleep);
    if (!w->hub->options.rehearsal) ev_timer_start(w->loop.ev, &w->tick);
}

int worker_init(struct worker *w, struct hub *hub, unsigned index) {
    *w = (struct worker){.hub = hub, .reserve_fd = -1};
    w->lane = (struct lane){.hub = hub, .loop = &w->loop, .index = index};
    int err = loop_init(&w->loop, w);
    if (err < 0) return err;
    rand_bytes(&w->random, sizeof w->random);
    fan_init(&w->fan, &(struct fan_setup){.loop = &w->loop,
                                          .epoch = hub->seq.epoch,
                                          .log_head = &hub->seq.head,
                                          .ops = &outlet_ops,
                                          .seed = w->random});
    w->fan.called = &w->loop.mailbox.called;
    w->fan.yield = &w->yield;
    if (!hub->options.rehearsal) w->yield.urgent = &hub->commits;
    w->fan.latency.into = w->fan.latency_queued.into = &w->lane.counters.latency;
    w->fan.unsent = &w->socks.waiting;
    w->fan.replays = &w->lane.counters.replays;
    list_init(&w->conns);
    list_init(&w->doomed);
    list_init(&w->polls_due);
    list_init(&w->polls_parked);
    map_init(&w->polls, poll_key);
    list_init(&w->feedings);
    list_init(&w->muxes);
    queue_init(&w->lane.queue);
    pool_init(&w->conn_pool, sizeof(struct conn));
    pool_init(&w->secure_pool, sizeof(struct secure));
    pool_init(&w->exchange_pool, sizeof(struct exchange));
    handshakes_init(w);
    w->socks.delayed = hub->options.delay_writes;
    read_clock(w);
    wheel_init(&w->wheel, w->now_ms);
    w->input = mem_new(WORKER_INPUT_BYTES);
    w->frames = mem_new(H2_WRITE_BYTES);
    flight_init(&w->flight);
    follow_init(w);
    w->signals.fd = w->control.accept.io.fd = -1;
    w->scrapers.io.fd = w->agents.io.fd = -1;
    init_watchers(w);
    err = hangups_init(w);
    w->reserve_fd = fault_here() ? -1 : open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (w->reserve_fd < 0) err = -errno;
    if (err < 0) worker_deinit(w);
    return err;
}

void worker_listen(struct worker *w, int fd, bool handed) {
    ASSERT_OWNER(&w->loop);
    struct accept *a = &w->accepts[w->n_accepts++];
    accept_init(a, w, fd, false);
    listener_await_request(fd);
    a->handed = handed;
    accept_start(a);
}

void worker_listen_scrapers(struct worker *w, int fd) {
    ASSERT_OWNER(&w->loop);
    accept_init(&w->scrapers, w, fd, false);
    w->scrapers.scraper = true;
    accept_start(&w->scrapers);
}

void worker_listen_agents(struct worker *w, int fd) {
    ASSERT_OWNER(&w->loop);
    accept_init(&w->agents, w, fd, false);
    w->agents.agent = true;
    accept_start(&w->agents);
}

int worker_give_ring(struct worker *w) {
    ASSERT_OWNER(&w->loop);
    int err = ring_new(&w->socks.ring);
    show(&w->lane.counters.rings, err == 0);
    return err;
}

void worker_begin(struct worker *w) {
    ASSERT_OWNER(&w->loop);
    int err = socks_begin(&w->socks);
    if (err < 0) log_printf(LOG_WARN, "io_uring is not used: %s", ring_problem(err));
}

static void *run(void *arg) {
    struct worker *w = arg;
    pthread_mutex_lock(&w->hub->gate); /* until all threads are there */
    bool go = w->hub->started;
    pthread_mutex_unlock(&w->hub->gate);
    if (!go) return NULL;
    char name[16];
    snprintf(name, sizeof name, "sluice-io%u", w->lane.index);
    pthread_setname_np(pthread_self(), name);
    loop_own(&w->loop);
    worker_begin(w);
    loop_run(&w->loop);
    report_finished(w);
    socks_end(&w->socks); /* it is this thread's only */
    return NULL;
}

int worker_start(struct worker *w) {
    ASSERT_OWNER(&w->loop);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = fault_here() ? EAGAIN : pthread_create(&w->thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -err;
}

void worker_step(struct worker *w) {
    ASSERT_OWNER(&w->loop);
    read_clock(w);
    wheel_advance(&w->wheel, w->now_ms, on_due, w);
    follow_step(w);
    ev_run(w->loop.ev, EVRUN_NOWAIT);
}

void worker_join(struct worker *w) {
    pthread_join(w->thread, NULL);
    loop_own(&w->loop);
}

static void stop_listening(struct worker *w) {
    for (unsigned i = 0; i < w->n_accepts; i++) accept_stop(&w->accepts[i]);
    accept_stop(&w->scrapers);
    accept_stop(&w->agents);
    handshakes_drain(w);
    control_close(w);
}

void worker_deinit(struct worker *w) {
    if (!w->loop.ev) return;
    ASSERT_OWNER(&w->loop);
    stop_listening(w);
    handshakes_deinit(w);
    mailbox_drain(&w->loop.mailbox, INT32_MAX);
    sock_flush(&w->socks, on_result);
    while (!list_empty(&w->conns))
        conn_doom(container_of(w->conns.next, struct conn, node), END_DRAIN);
    muxes_write(w); /* nothing, but what waits for a result gets one */
    worker_reap(w);
    hangups_deinit(w);
    follow_deinit(w);
    map_deinit(&w->polls);
    socks_deinit(&w->socks);
    queue_close(&w->lane.queue);
    fan_deinit(&w->fan);
    pool_deinit(&w->conn_pool);
    pool_deinit(&w->secure_pool);
    pool_deinit(&w->exchange_pool);
    routes_unref(w->routes);
    if (w->signals.fd >= 0) close(w->signals.fd);
    if (w->reserve_fd >= 0) close(w->reserve_fd);
    mem_free(w->input);
    mem_free(w->frames);
    flight_deinit(&w->flight);
    loop_deinit(&w->loop);
}

/* ---- Draining ----------------------------------------------------------------------- */

void io_on_drain(void *owner, struct message *m) {
    struct worker *w = owner;
    struct drain_message *drain = container_of(m, struct drain_message, message);
    int64_t window = drain->window_ms;
    int64_t longer = drain->stuck ? END_STUCK_MS : DRAIN_TELL_MS + LEFT_HOOKS_MS;
    mem_free(drain);
    w->released = window < 0;
    int64_t last = window > HANDLERS_DRAIN_MS ? window : HANDLERS_DRAIN_MS;
    w->drain_end_ms = window < 0 ? w->now_ms : w->now_ms + last + DRAIN_TELL_MS;
    bool elsewhere = w->hub->cluster && cluster_has_others(w->hub->cluster);
    w->fan.drained_ms = elsewhere ? w->now_ms : w->now_ms + last + longer;
    if (w->draining) return;
    /* what waits would be cut off; at a socket that was handed over it waits on */
    for (unsigned i = 0; i < w->n_accepts; i++)
        if (!w->accepts[i].handed) accept_all(&w->accepts[i], BACKLOG_DRAIN_MAX);
    if (!w->handshakes.accept.handed)
        accept_all(&w->handshakes.accept, BACKLOG_DRAIN_MAX);
    w->draining = true;
    stop_listening(w);
    for (struct list *node = w->conns.next, *next; node != &w->conns; node = next) {
        next = node->next;
        conn_drain(container_of(node, struct conn, node), window);
    }
}
