/* Steps instead of threads; see rehearsal.h. */
#include "serve/app/rehearsal.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "serve/io/conn.h"
#include "serve/io/follow.h"
#include "serve/io/measure.h"
#include "serve/app/durable.h"
#include "serve/app/shared.h"
#include "serve/app/sweep.h"
#include "serve/cluster.h"
#include "serve/io/worker.h"

#include <errno.h>
#include <sys/socket.h>

static bool app_timers(struct server *s, int64_t now_ms) {
    bool ran = false;
    if (s->wake_at >= 0 && clock_seconds() >= s->wake_at) {
        s->wake_at = -1;
        if (s->events->on_timer) s->events->on_timer(s->context);
        ran = true;
    }
    if (now_ms - s->swept_ms >= 1000) {
        s->swept_ms = now_ms;
        sweep_run(s, now_ms);
        if (s->hub.cluster) shared_tick(s);
    }
    return ran;
}

/* One round of all threads. False when none had anything to do. */
static bool one_round(struct server *s) {
    bool busy = app_timers(s, clock_ms());
    for (unsigned i = 0; i < s->hub.n_lanes; i++) {
        struct worker *w = &s->workers[i];
        busy = w->loop.mailbox.first || busy;
        worker_step(w);
        busy = ev_is_active(&w->more) || w->loop.mailbox.first || busy;
    }
    busy = durable_step(s) || busy;
    if (s->hub.cluster) {
        cluster_flush(s->hub.cluster);
        busy = cluster_step(s->hub.cluster) || busy;
        server_take_in(s, seq_take_own(&s->hub.seq));
    }
    server_catch_up(s);
    return mailbox_drain(&s->loop.mailbox, INT32_MAX) > 0 || busy;
}

bool rehearsal_step(struct server *s) {
    ASSERT_OWNER(&s->loop);
    int quiet = 0; /* what a round reads is flushed by the next: two at rest are rest */
    for (int i = 0; i < REHEARSAL_ROUNDS_MAX && quiet < 3; i++)
        quiet = one_round(s) ? 0 : quiet + 1;
    return quiet >= 3;
}

double rehearsal_next(const struct server *s) {
    ASSERT_OWNER(&s->loop);
    int64_t next = INT64_MAX;
    for (unsigned i = 0; i < s->hub.n_lanes; i++) {
        int64_t at = wheel_next(&s->workers[i].wheel);
        int64_t tick = fan_next(&s->workers[i].fan);
        int64_t report = measure_next(&s->workers[i]);
        int64_t parked = follow_next(&s->workers[i]);
        if (at < next) next = at;
        if (tick < next) next = tick;
        if (report < next) next = report;
        if (parked < next) next = parked;
    }
    int64_t store = durable_next(s);
    if (store < next) next = store;
    int64_t cluster = s->hub.cluster ? cluster_next(s->hub.cluster) : INT64_MAX;
    if (cluster < next) next = cluster;
    bool sweeps = s->fan.chans.map.n > 0 || s->budgets.meters.n > 0;
    if (sweeps && s->swept_ms + 1000 < next) next = s->swept_ms + 1000;
    double seconds = next == INT64_MAX ? -1 : (double)next / 1000;
    if (s->wake_at >= 0 && (seconds < 0 || s->wake_at < seconds)) seconds = s->wake_at;
    return seconds;
}

int rehearsal_dial(struct server *s, int buffer, int *fd) {
    ASSERT_OWNER(&s->loop);
    int pair[2];
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    if (socketpair(AF_UNIX, type, 0, pair) < 0) return -errno;
    if (buffer > 0) setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    struct in6_addr ip = {{{[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}}};
    conn_go_on(conn_new(&s->workers[0], pair[1], &ip));
    *fd = pair[0];
    return 0;
}
