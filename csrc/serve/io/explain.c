/* How a client and a channel stand on this thread, and what was noted of them: the answer to a
 * question of the app (serve/question.h). Lua makes sentences of it (lua/sluice/explain).
 *
 *     {"message":"stream", …}         a client that is open here
 *     {"message":"subscription", …}   each channel that it follows, and what for it waits
 *     {"message":"channel", …}        a channel
 *     {"message":"opened", …}         what was noted, with its time
 *     {"message":"recorder", …}       how far they reach back
 *
 * Bounded: one client, one channel, FLIGHT_LINES_MAX lines of each recorder. [the worker's thread] */
#include "base/clock.h"
#include "base/log_fields.h"
#include "fan/lag.h"
#include "fan/paging.h"
#include "fan/sub.h"
#include "serve/io/conn.h"
#include "serve/io/outlet.h"
#include "serve/io/worker.h"
#include "serve/to_app.h"
#include "serve/to_io.h"

#include <stdio.h>

#define NAMES_MAX 3 /* keys or names of a filter that are told */

/* Without memory for it the answer is shorter. */
static void add_line(struct buf *out, const char *what, const struct log_fields *f) {
    size_t before = out->n;
    struct log_message m = {
        .level = LOG_INFO, .text = slice_str(what), .fields = f->all, .n = f->n};
    if (log_line_add(out, (struct log_form){.json = true}, &m) < 0) out->n = before;
}

static double seconds_since(const struct fan *fan, int64_t ms) {
    return (double)(fan->now_ms - ms) / 1000;
}

/* The same of a clock's low 32 bits. */
static double seconds_of(const struct fan *fan, uint32_t ms) {
    return (double)((uint32_t)fan->now_ms - ms) / 1000;
}

/* ---- A subscription ----------------------------------------------------------------- */

/* What waits on it waits for this; when nothing does, why nothing comes. */
static const char *waits_for(const struct sub *sub, struct lag lag) {
    const struct stream *s = sub->stream;
    const struct audience *a = sub->audience;
    const struct chan *c = sub_chan(sub);
    if (lag.events > 0 || sub->seeks) {
        if (sub->seeks || paging_awaits(s)) return "store";
        if (s->blocked) return "socket";
        return a->key.tick ? "rate" : "turn";
    }
    if (c->kept->last <= sub->joined) return "publish"; /* nothing came since it joined */
    return sub_filter(sub) && a->last < c->kept->last ? "filter" : "nothing";
}

/* The first names of a list, with commas; NULL when none is given. */
static struct slice names_of(struct filter_list list, char *room, size_t size) {
    size_t n = 0;
    for (uint32_t i = 0; i < list.n && i < NAMES_MAX; i++) {
        int more = snprintf(room + n, size - n, "%s%.*s", i ? ", " : "",
                            (int)list.items[i].n, list.items[i].p);
        n = more < 0 || (size_t)more >= size - n ? size - 1 : n + (size_t)more;
    }
    return slice_of(room, n);
}

static void add_filter(struct log_fields *f, const struct sub *sub, char *keys,
                       char *types, size_t size) {
    if (!sub_filter(sub)) return;
    struct filter_list named, keyed;
    filter_lists(sub_filter(sub), &named, &keyed);
    if (keyed.given) log_fields_integer(f, "n_keys", keyed.n);
    if (named.given) log_fields_integer(f, "n_types", named.n);
    log_fields_text(f, "keys", names_of(keyed, keys, size));
    log_fields_text(f, "types", names_of(named, types, size));
}

static void add_rate(struct log_fields *f, const struct sub *sub) {
    const struct audience *a = sub->audience;
    const struct tick *tick = a->key.tick;
    if (!tick) return;
    log_fields_integer(f, "period_ms", tick->period_ms);
    log_fields_integer(f, "asked_ms", a->key.asked_ms);
    log_fields_integer(f, "due_ms",
                       (uint64_t)(tick_from(tick, sub->stream->fan->now_ms + 1) -
                                  sub->stream->fan->now_ms));
}

static void add_subscription(struct buf *out, const struct sub *sub, int *looks) {
    const struct chan *c = sub_chan(sub);
    const struct fan *fan = sub->stream->fan;
    struct lag lag = lag_of(sub, looks);
    struct log_fields f = {.n = 0};
    char keys[NAMES_MAX * (EVENT_KEY_MAX + 2)], types[sizeof keys];
    log_fields_text(&f, "channel", chan_name(c));
    log_fields_text(&f, "waits", slice_str(waits_for(sub, lag)));
    log_fields_integer(&f, "events", lag.events);
    log_fields_integer(&f, "bytes", lag.bytes);
    log_fields_integer(&f, "at", stream_cursor(sub->stream, sub));
    log_fields_integer(&f, "last", c->kept->last);
    if (c->kept->last > 0 && c->kept->last_ms > 0) /* 0: before the start */
        log_fields_number(&f, "last_s", seconds_since(fan, c->kept->last_ms));
    add_filter(&f, sub, keys, types, sizeof keys);
    add_rate(&f, sub);
    add_line(out, "subscription", &f);
}

/* ---- A stream ----------------------------------------------------------------------- */

/* What keeps all of it, whatever its channels hold; empty: nothing does. */
static const char *held_by(const struct conn *c) {
    const struct stream *s = &c->outlet.stream;
    if (s->ending) return "end";
    if (s->seeks) return "store";
    if (c->polls && s->blocked) return "poll";
    if (s->blocked) return "socket";
    return paging_awaits(s) ? "store" : "";
}

static void add_stream(struct buf *out, const struct outlet *o) {
    const struct conn *c = container_of(o, const struct conn, outlet);
    const struct stream *s = &o->stream;
    const struct fan *fan = s->fan;
    struct log_fields f = {.n = 0};
    log_fields_text(&f, "client", client_id(o->client));
    log_fields_text(&f, "held", slice_str(held_by(c)));
    if (s->ending) {
        log_fields_text(&f, "reason", slice_str(reason_end(s->reason)->word));
        log_fields_text(&f, "cause", slice_str(reason_cause(s->cause)));
    }
    log_fields_number(&f, "open_s", seconds_since(fan, o->opened_ms));
    log_fields_integer(&f, "events", o->client->events);
    log_fields_integer(&f, "bytes", o->client->bytes);
    log_fields_integer(&f, "resets", s->resets);
    log_fields_integer(&f, "unsent", outlet_unsent(o));
    if (s->lagging) log_fields_number(&f, "behind_s", seconds_of(fan, s->lagging_ms));
    log_fields_number(&f, "quiet_s", seconds_of(fan, c->tx_ms));
    log_fields_number(&f, "heartbeat_s", (double)o->heartbeat_ms / 1000);
    if (o->expires > 0) log_fields_number(&f, "expires_s", o->expires - clock_wall());
    log_fields_integer(&f, "head", fan->head);
    log_fields_integer(&f, "written", s->written);
    add_line(out, "stream", &f);
    int looks = EXPLAIN_LOOKS_MAX;
    for (const struct sub *sub = s->subs; sub; sub = sub->next)
        add_subscription(out, sub, &looks);
}

/* ---- A channel ---------------------------------------------------------------------- */

/* "history 12, ttl 40": what took events, and up to which number. */
static struct slice losses_text(const struct losses *l, char *room, size_t size) {
    size_t n = 0;
    for (unsigned i = 0; l && i < l->n; i++)
        n += (size_t)snprintf(room + n, size - n, "%s%s %llu", i ? ", " : "",
                              loss_word((enum lost_by)l->by[i]),
                              (unsigned long long)l->upto[i]);
    return slice_of(room, n);
}

static void add_channel(struct buf *out, const struct fan *fan, struct slice name) {
    const struct chan *c = chans_find(&fan->chans, name);
    if (!c) return;
    struct log_fields f = {.n = 0};
    char lost[LOSSES_KEPT * 40];
    log_fields_text(&f, "channel", chan_name(c));
    log_fields_integer(&f, "subscribers", c->n_subs);
    log_fields_integer(&f, "behind", c->n_lagging);
    log_fields_integer(&f, "waiting", c->kept->n_pending);
    log_fields_integer(&f, "head", fan->head);
    log_fields_integer(&f, "last", c->kept->last);
    if (c->kept->last > 0 && c->kept->last_ms > 0) /* 0: before the start */
        log_fields_number(&f, "last_s", seconds_since(fan, c->kept->last_ms));
    log_fields_integer(&f, "floor", chans_floor(&fan->chans, c));
    log_fields_text(&f, "lost", losses_text(c->kept->losses, lost, sizeof lost));
    add_line(out, "channel", &f);
}

/* ---- The answer --------------------------------------------------------------------- */

/* When the oldest of these was made; empty: they are all since the start. */
static struct slice since(char room[LOG_TIME_LENGTH], const struct notes *notes) {
    double time = notes_since(notes);
    if (time) log_line_time(room, time);
    return slice_of(room, time ? LOG_TIME_LENGTH : 0);
}

static void add_recorded(struct buf *out, const struct flight *flight,
                         const struct notes_wanted *wanted) {
    struct log_fields f = {.n = 0};
    char visits[LOG_TIME_LENGTH], deeds[LOG_TIME_LENGTH], requests[LOG_TIME_LENGTH];
    log_fields_text(&f, "visits", since(visits, &flight->visits));
    log_fields_text(&f, "deeds", since(deeds, &flight->deeds));
    log_fields_text(&f, "requests", since(requests, &flight->requests));
    add_line(out, "recorder", &f);
    size_t before = out->n;
    if (notes_find(&flight->visits, wanted, FLIGHT_LINES_MAX, out) < 0 ||
        notes_find(&flight->deeds, wanted, FLIGHT_LINES_MAX, out) < 0 ||
        notes_find(&flight->requests, wanted, FLIGHT_LINES_MAX, out) < 0)
        out->n = before;
}

void io_on_question(void *owner, struct message *m) {
    struct worker *w = owner;
    struct question *q = container_of(m, struct question, message);
    const struct outlet *o = q->client ? q->client->outlet : NULL;
    if (o) add_stream(&q->answer, o);
    if (q->channel.n > 0) add_channel(&q->answer, &w->fan, q->channel);
    if (q->wanted.value.n > 0) add_recorded(&q->answer, &w->flight, &q->wanted);
    to_app_told(q);
}
