/* The proxy: its port, its connections as a whole, and its weather; see lab.h. */
#include "lab/lab.h"

#include "base/clock.h"
#include "base/mem.h"
#include "lab/conn.h"
#include "net/sock.h"

#include <errno.h>
#include <unistd.h>

struct pipe_now lab_now(const struct lab *lab) {
    const struct lab_faults *f = &lab->sky.faults;
    return (struct pipe_now){.ms = clock_ms(),
                             .latency_ms = f->latency_ms,
                             .jitter_ms = f->jitter_ms,
                             .hold_ms = f->hold_ms,
                             .bandwidth = weather_bandwidth(&lab->sky),
                             .byte_at_a_time = f->byte_at_a_time,
                             .stalled = weather_is(&lab->sky, WEATHER_STALL)};
}

void lab_note(struct lab *lab, enum lab_kind kind, int64_t n, int64_t ended) {
    struct lab_note note = {kind, n, ended};
    lab->counts.notes[kind]++;
    lab->options.on_note(lab->options.context, &note);
}

/* ---- All connections ---------------------------------------------------------------- */

static int64_t cut_all(struct lab *lab) {
    int64_t n = 0;
    for (struct list *l = lab->conns.next, *next; l != &lab->conns; l = next, n++) {
        next = l->next;
        conn_cut(container_of(l, struct conn, node), lab->sky.faults.cut_by_end);
    }
    return n;
}

static void turn_all(struct lab *lab) {
    for (struct list *l = lab->conns.next, *next; l != &lab->conns; l = next) {
        next = l->next;
        conn_turn(container_of(l, struct conn, node));
    }
}

/* ---- Weather ------------------------------------------------------------------------ */

static void began(struct lab *lab, const struct weather_event *e) {
    switch (e->kind) {
    case WEATHER_CUT: lab_note(lab, LAB_CUT, cut_all(lab), 0); break;
    case WEATHER_STALL: lab_note(lab, LAB_STALL, e->ms, 0); break;
    case WEATHER_AWAY: lab_note(lab, LAB_AWAY, e->ms, cut_all(lab)); break;
    case WEATHER_SLOW: lab_note(lab, LAB_SLOW, lab->sky.bandwidth, e->ms); break;
    default: break;
    }
}

static void ended(struct lab *lab, enum weather_kind kind) {
    if (kind == WEATHER_STALL) lab_note(lab, LAB_FLOW, 0, 0);
    if (kind == WEATHER_AWAY) lab_note(lab, LAB_BACK, 0, 0);
    if (kind == WEATHER_SLOW) lab_note(lab, LAB_FAST, 0, 0);
}

/* Let happen what is due, and wait for the next. */
static void live(struct lab *lab) {
    struct ev_loop *ev = lab->loop->ev;
    struct weather_event e;
    int64_t now = clock_ms();
    while (weather_next(&lab->sky, now, &e)) {
        if (e.begins) began(lab, &e);
        else ended(lab, e.kind);
    }
    turn_all(lab);
    ev_timer_stop(ev, &lab->weather);
    int64_t at = weather_at(&lab->sky);
    if (at == WEATHER_NEVER) return;
    ev_now_update(ev);
    ev_timer_set(&lab->weather, (double)(at - now) / 1000, 0);
    ev_timer_start(ev, &lab->weather);
}

static void on_weather(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)ev, (void)events;
    live(timer->data);
}

void lab_set(struct lab *lab, const struct lab_faults *faults) {
    struct lab_faults still = *faults; /* nothing begins before there is a connection */
    if (!lab->started) still.cut_ms = still.stall_ms = still.away_ms = 0;
    weather_init(&lab->sky, &still, lab->options.seed, clock_ms());
    lab->wanted = *faults;
    live(lab);
}

void lab_cut(struct lab *lab) {
    lab_note(lab, LAB_CUT, cut_all(lab), 0);
}

void lab_begin(struct lab *lab, enum weather_kind kind, int64_t ms) {
    struct weather_event e = {kind, true, ms};
    weather_begin(&lab->sky, kind, clock_ms(), ms);
    began(lab, &e);
    live(lab);
}

void lab_slow(struct lab *lab, int64_t ms, int64_t bandwidth) {
    lab->sky.bandwidth = bandwidth;
    lab_begin(lab, WEATHER_SLOW, ms);
}

void lab_calm(struct lab *lab) {
    weather_calm(&lab->sky, clock_ms());
    live(lab);
}

/* ---- Accepting ---------------------------------------------------------------------- */

static void begin(struct lab *lab) {
    if (lab->started) return;
    lab->started = true;
    lab_set(lab, &lab->wanted);
}

static void on_accept(struct ev_loop *ev, struct ev_io *io, int events) {
    (void)events;
    struct lab *lab = io->data;
    int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        begin(lab);
        conn_open(lab, fd);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
               errno == ENOBUFS) {
        ev_io_stop(ev, io);
        ev_timer_set(&lab->again, ACCEPT_PAUSE_MS / 1000.0, 0);
        ev_timer_start(ev, &lab->again);
    }
    if (lab->counts.open >= LAB_CONNS_MAX) ev_io_stop(ev, io);
}

static void on_again(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)events;
    struct lab *lab = timer->data;
    if (lab->counts.open < LAB_CONNS_MAX) ev_io_start(ev, &lab->accept);
}

/* ---- Life --------------------------------------------------------------------------- */

int lab_new(struct lab **out, struct loop *loop, const struct lab_options *options) {
    uint16_t port = options->port;
    int fd = sock_listen_local(&port);
    if (fd < 0) return fd;
    struct lab *lab = mem_new(sizeof *lab);
    *lab = (struct lab){.loop = loop, .options = *options, .fd = fd, .port = port};
    list_init(&lab->conns);
    ev_io_init(&lab->accept, on_accept, fd, EV_READ);
    lab->accept.data = lab;
    ev_timer_init(&lab->again, on_again, 0, 0);
    lab->again.data = lab;
    ev_timer_init(&lab->weather, on_weather, 0, 0);
    lab->weather.data = lab;
    lab_set(lab, &lab->wanted);
    ev_io_start(loop->ev, &lab->accept);
    *out = lab;
    return 0;
}

void lab_free(struct lab *lab) {
    if (!lab) return;
    lab->sky.faults.cut_by_end = false;
    (void)cut_all(lab);
    ev_io_stop(lab->loop->ev, &lab->accept);
    ev_timer_stop(lab->loop->ev, &lab->again);
    ev_timer_stop(lab->loop->ev, &lab->weather);
    close(lab->fd);
    mem_free(lab);
}

uint16_t lab_port(const struct lab *lab) {
    return lab->port;
}

struct lab_counts lab_counts(const struct lab *lab) {
    struct lab_counts counts = lab->counts;
    counts.stalled = weather_is(&lab->sky, WEATHER_STALL);
    counts.away = weather_is(&lab->sky, WEATHER_AWAY);
    counts.slow = weather_is(&lab->sky, WEATHER_SLOW);
    return counts;
}
