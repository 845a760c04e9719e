/* The readers as a whole: when they are opened, and what is counted; see crowd.h. */
#include "crowd/crowd.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/status.h"
#include "crowd/member.h"

#include <errno.h>
#include <sys/resource.h>

#define OTHER_DESCRIPTORS 64 /* of this process, beside the readers' */

/* ---- Opening -------------------------------------------------------------------------- */

/* How many may have been opened by now, at the rate that is wanted. */
static uint32_t due(const struct crowd *crowd) {
    double rate = crowd->options.rate;
    if (rate <= 0) return crowd->options.readers;
    double n = (double)(clock_us() - crowd->began_us) * rate / 1e6 + 1;
    return n < crowd->options.readers ? (uint32_t)n : crowd->options.readers;
}

static void on_opener(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)ev, (void)events;
    struct crowd *crowd = timer->data;
    uint32_t until = due(crowd);
    while (crowd->opened < until && crowd->under_way < CROWD_UNDER_WAY_MAX)
        member_open(&crowd->readers[crowd->opened++]);
    crowd_go_on(crowd);
}

/* Look again soon: readers are opened by the timer alone, never from within another. */
void crowd_go_on(struct crowd *crowd) {
    struct ev_loop *ev = crowd->loop->ev;
    bool may =
        crowd->opened < crowd->options.readers && crowd->under_way < CROWD_UNDER_WAY_MAX;
    if (!may || ev_is_active(&crowd->opener)) return;
    ev_now_update(ev);
    ev_timer_set(&crowd->opener, crowd->opened < due(crowd) ? 0 : CROWD_STEP_MS / 1000.0,
                 0);
    ev_timer_start(ev, &crowd->opener);
}

/* ---- Life ----------------------------------------------------------------------------- */

/* Copy the texts behind each other, so that one block owns them. */
static void copy_texts(struct crowd *crowd, const struct crowd_options *o) {
    const struct slice all[] = {o->request, o->mark, o->time, o->host};
    struct slice copies[4];
    size_t n = o->request.n + o->mark.n + o->time.n + o->host.n;
    char *at = crowd->texts = mem_new(n + 4);
    for (int i = 0; i < 4; i++) {
        if (all[i].n > 0) memcpy(at, all[i].p, all[i].n);
        copies[i] = slice_of(at, all[i].n);
        at += all[i].n;
        *at++ = '\0'; /* OpenSSL wants one behind the host */
    }
    crowd->options.request = copies[0];
    crowd->options.host = copies[3];
    crowd->words = (struct event_words){.mark = copies[1], .time = copies[2]};
}

int crowd_new(struct crowd **out, struct loop *loop,
              const struct crowd_options *options) {
    size_t n = options->readers;
    struct crowd *crowd = mem_try(sizeof *crowd + n * sizeof *crowd->readers);
    if (!crowd) return E_NOMEM;
    memset(crowd, 0, sizeof *crowd + n * sizeof *crowd->readers);
    crowd->loop = loop;
    crowd->options = *options;
    copy_texts(crowd, options);
    crowd->began_us = clock_us();
    crowd->counts.waiting = options->readers;
    for (size_t i = 0; i < n; i++) {
        crowd->readers[i].crowd = crowd;
        crowd->readers[i].fd = -1;
    }
    ev_timer_init(&crowd->opener, on_opener, 0, 0);
    crowd->opener.data = crowd;
    crowd_go_on(crowd);
    *out = crowd;
    return 0;
}

void crowd_free(struct crowd *crowd) {
    if (!crowd) return;
    crowd->opened = crowd->options.readers; /* no more are */
    for (size_t i = 0; i < crowd->options.readers; i++) member_close(&crowd->readers[i]);
    ev_timer_stop(crowd->loop->ev, &crowd->opener);
    if (crowd->options.tls) tls_client_free(crowd->options.tls);
    mem_free(crowd->texts);
    mem_free(crowd);
}

/* ---- Counts --------------------------------------------------------------------------- */

const struct crowd_counts *crowd_counts(const struct crowd *crowd) {
    return &crowd->counts;
}

void crowd_measure(struct crowd *crowd) {
    struct crowd_counts *c = &crowd->counts;
    c->events = c->own = c->bytes = 0;
    c->lost = c->repeated = c->disordered = 0;
    c->latency = (struct hist){0};
    order_begin(&crowd->order);
}

uint32_t crowd_reached(const struct crowd *crowd, uint64_t own) {
    uint32_t n = 0;
    for (size_t i = 0; i < crowd->options.readers; i++) {
        const struct member *r = &crowd->readers[i];
        n += r->state == MEMBER_OPEN && r->own.last >= own;
    }
    return n;
}

void crowd_settle(struct crowd *crowd, uint64_t own, int64_t until_us) {
    for (size_t i = 0; i < crowd->options.readers; i++) {
        const struct member *r = &crowd->readers[i];
        if (r->state == MEMBER_OPEN && r->own.last < own)
            crowd->counts.lost += own - r->own.last;
    }
    crowd->counts.lost += order_lost(&crowd->order, until_us);
}

int crowd_allow(uint32_t readers, uint64_t *limit) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0) return -errno;
    rlim_t wanted = (rlim_t)readers + OTHER_DESCRIPTORS;
    *limit = r.rlim_max > OTHER_DESCRIPTORS ? r.rlim_max - OTHER_DESCRIPTORS : 0;
    if (r.rlim_cur >= wanted) return 0;
    if (r.rlim_max < wanted) return -EMFILE;
    r.rlim_cur = wanted;
    return setrlimit(RLIMIT_NOFILE, &r) < 0 ? -errno : 0;
}
