/* Measuring and handing over; see measure.h. */
#include "serve/io/measure.h"

#include "base/mem.h"
#include "fan/lag.h"
#include "serve/io/outlet.h"
#include "serve/io/worker.h"
#include "serve/report.h"
#include "serve/to_app.h"

int64_t measure_next(const struct worker *w) {
    bool some = !list_empty(&w->fan.tallies) || !list_empty(&w->fan.waiting) ||
                !list_empty(&w->fan.ready) || w->reported_lags;
    if (!some || atomic_load_explicit(&w->lane.reporting, memory_order_acquire))
        return INT64_MAX;
    return w->reported_ms + REPORT_MS;
}

/* How many of a list are looked at. */
static uint32_t count(const struct list *streams, uint32_t most) {
    uint32_t n = 0;
    for (const struct list *l = streams->next; l != streams && n < most; l = l->next) n++;
    return n;
}

/* What one stream still has to be sent: of its channels, of its own, and what is left of the
 * block that its socket took in part. */
static struct lagging measure(struct outlet *o, int *looks) {
    struct stream *s = &o->stream;
    int64_t now_ms = s->fan->now_ms;
    struct lagging b = {.since_ms = now_ms - ((uint32_t)now_ms - s->lagging_ms)};
    uint64_t most = 0;
    b.lag.events = o->pinned ? o->pinned->events : 0;
    b.lag.bytes = outlet_unsent(o);
    for (const struct sub *sub = s->subs; sub; sub = sub->next) {
        struct lag lag = lag_of(sub, looks);
        if (lag.events == 0) continue;
        struct tally *t = chan_tally(sub_chan(sub), &s->fan->tallies);
        tally_lagging(t, &s->fan->tallies, lag);
        if (lag.bytes >= most) b.most = t;
        most = lag.bytes > most ? lag.bytes : most;
        b.lag.events += lag.events;
        b.lag.bytes += lag.bytes;
    }
    return b;
}

static void add_lags(struct report *r, const struct list *streams, uint32_t n,
                     int *looks) {
    const struct list *l = streams->next;
    for (; n > 0; n--, l = l->next) {
        struct stream *s = container_of(l, struct stream, ready);
        struct outlet *o = container_of(s, struct outlet, stream);
        if (!o->client) continue; /* its plan is awaited */
        struct lagging b = measure(o, looks);
        memcpy(b.client, o->client->id, sizeof b.client);
        if (b.lag.bytes > 0) r->lagging[r->n++] = b;
    }
}

/* Those of channels with lagging subscribers come first, and all of them. */
static void take_tallies(struct report *r, struct list *tallies) {
    for (int n = 0; !list_empty(tallies); n++) {
        struct tally *t = container_of(tallies->next, struct tally, node);
        if (n >= REPORT_TALLIES_MAX && t->n_lagging == 0) return;
        tally_part(t);
        list_remove(&t->node);
        list_add(&r->tallies, &t->node);
    }
}

void measure_report(struct worker *w) {
    ASSERT_OWNER(&w->loop);
    if (w->now_ms < w->reported_ms + REPORT_MS || w->now_ms < measure_next(w)) return;
    struct fan *fan = &w->fan;
    uint32_t waiting = count(&fan->waiting, REPORT_STREAMS_MAX);
    uint32_t ready = count(&fan->ready, REPORT_STREAMS_MAX - waiting);
    w->reported_ms = w->now_ms;
    struct report *r = mem_try(sizeof *r + (waiting + ready) * sizeof(struct lagging));
    if (!r) return; /* next time */
    *r = (struct report){.lane = &w->lane};
    list_init(&r->tallies);
    int looks = LAG_LOOKS_MAX;
    add_lags(r, &fan->waiting, waiting, &looks);
    add_lags(r, &fan->ready, ready, &looks);
    take_tallies(r, &fan->tallies);
    w->reported_lags = r->n > 0;
    to_app_report(&w->lane, r);
}
