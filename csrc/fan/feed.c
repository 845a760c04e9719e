/* Messages, control events and offsets; see feed.h. */
#include "fan/feed.h"

#include "base/base64.h"
#include "base/clock.h"
#include "base/json_check.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/status.h"
#include "fan/chans.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- Types -------------------------------------------------------------------------- */

enum feed_kind feed_kind_of(struct slice type) {
    static const char json[] = "application/json";
    size_t n = 0;
    while (n < type.n && type.p[n] != ';' && type.p[n] != ' ' && type.p[n] != '\t') n++;
    if (n == sizeof json - 1 && strncasecmp(type.p, json, n) == 0) return FEED_JSON;
    return n > 5 && strncasecmp(type.p, "text/", 5) == 0 ? FEED_TEXT : FEED_BYTES;
}

/* ---- Offsets ------------------------------------------------------------------------ */

int feed_read_offset(struct feed_ask *ask, struct slice text) {
    char id[FEED_OFFSET_LENGTH + 1];
    ask->from = (struct eventid){.kind = EVENTID_NONE};
    ask->at_end = slice_eq_lit(text, "now");
    if (ask->at_end || slice_eq_lit(text, "-1")) return 0;
    if (text.n != FEED_OFFSET_LENGTH || text.p[EPOCH_LENGTH] != '_') return E_INVAL;
    const char *digits = text.p + EPOCH_LENGTH + 1;
    size_t zeros = 0;
    while (zeros < FEED_OFFSET_DIGITS - 1 && digits[zeros] == '0') zeros++;
    int n = snprintf(id, sizeof id, "%.*s-%.*s", EPOCH_LENGTH, text.p,
                     (int)(FEED_OFFSET_DIGITS - zeros), digits + zeros);
    ask->from = eventid_parse(slice_of(id, (size_t)n));
    return ask->from.kind == EVENTID_GOOD ? 0 : E_INVAL;
}

void feed_write_offset(char *out, const char *epoch, uint64_t seq) {
    snprintf(out, FEED_OFFSET_LENGTH + 1, "%.*s_%0*llu", EPOCH_LENGTH, epoch,
             FEED_OFFSET_DIGITS, (unsigned long long)seq % 10000000000000000000u);
}

/* ---- The cursor that caches go by ---------------------------------------------------- */

#define CURSOR_SECONDS 20
#define CURSOR_SINCE 1728432000 /* 2024-10-09 */
#define CURSOR_AHEAD_MAX 180 /* intervals, at random, ahead of one that was given out */

static uint64_t interval_now(void) {
    double since = clock_wall() - CURSOR_SINCE;
    return since > 0 ? (uint64_t)(since / CURSOR_SECONDS) : 0;
}

bool feed_is_alone(const struct feed *feed) {
    return feed->least > interval_now();
}

uint64_t feed_cursor(const struct feed *feed) {
    uint64_t now = interval_now();
    return feed->least > now ? feed->least : now;
}

/* ---- Life --------------------------------------------------------------------------- */

static uint64_t shape_of(const struct feed *feed) {
    const struct filter_list *closes = &feed->plan->options.feed.closes;
    uint64_t shape = 2 + (uint64_t)feed->kind * 2 + (feed->mode == FEED_SSE);
    for (uint32_t i = 0; i < closes->n; i++) shape = map_mark(shape, closes->items[i]);
    return shape;
}

struct feed *feed_new(struct plan *plan, const struct feed_ask *ask, uint64_t *random) {
    struct feed *feed = mem_new(sizeof *feed);
    *feed = (struct feed){.plan = plan_ref(plan),
                          .mode = ask->mode,
                          .kind = plan->options.feed.kind,
                          .at_end = ask->at_end,
                          .from = ask->from.seq};
    if (ask->cursor >= interval_now())
        feed->least = ask->cursor + rand_between(random, 1, CURSOR_AHEAD_MAX);
    feed->shape = shape_of(feed);
    return feed;
}

void feed_free(struct feed *feed) {
    if (feed) plan_unref(feed->plan);
    mem_free(feed);
}

/* ---- Its log ------------------------------------------------------------------------ */

bool feed_fits(const struct chan *c) {
    return c->kind == CHANNEL_LOG && c->policy->history > 0;
}

uint64_t feed_end(const struct chans *cs, const struct chan *c) {
    uint64_t end = chans_floor(cs, c);
    if (!c->policy->durable && cs->first > end) end = cs->first;
    return c->kept->last > end ? c->kept->last : end;
}

static bool closes(const struct feed *feed, const struct frame *f) {
    const struct filter_list *list = &feed->plan->options.feed.closes;
    for (uint32_t i = 0; i < list->n; i++)
        if (slice_eq(list->items[i], f->name)) return true;
    return false;
}

/* The newest event, if memory has it. */
static const struct frame *newest_of(const struct chan *c) {
    if (c->kept->head == c->kept->history) return NULL;
    const struct frame *f = chan_at(c, c->kept->head - 1);
    return f->seq == c->kept->last ? f : NULL;
}

bool feed_is_closed(const struct feed *feed, const struct chan *c) {
    const struct frame *f = newest_of(c);
    return f ? closes(feed, f) : feed->closing != 0 && feed->closing == c->kept->last;
}

uint64_t feed_look_from(const struct feed *feed, const struct chans *cs,
                        const struct chan *c, uint64_t from) {
    bool asks =
        feed->plan->options.feed.closes.n > 0 && from == c->kept->last && from > 0;
    if (!asks || newest_of(c) || !chan_beyond(c)) return from;
    return chans_floor(cs, c) < from ? from - 1 : from;
}

/* ---- Messages ----------------------------------------------------------------------- */

/* Append the data of an event as it was given; its place in 'out'. */
static int add_payload(const struct frame *f, struct buf *out, struct slice *payload) {
    size_t before = out->n;
    int err = frame_payload(f, out);
    *payload = slice_of(out->p + before, out->n - before);
    return err;
}

/* What closes a log may be a message as well. */
static bool is_message(const struct feed *feed, const struct frame *f,
                       struct slice payload) {
    if (f->seq <= feed->from) return false;
    if (payload.n > 0 && !(feed->kind == FEED_JSON && slice_eq_lit(payload, "null")))
        return true;
    return !closes(feed, f);
}

/* Turn the text at the end of 'out' into a JSON string. */
static int quote(struct buf *out, size_t before) {
    struct buf text = {0};
    int err = buf_add(&text, out->p + before, out->n - before);
    out->n = before;
    if (err == 0) err = json_add_string(out, buf_slice(&text));
    buf_free(&text);
    return err;
}

static int decode(struct buf *out, size_t before) {
    struct slice text = slice_of(out->p + before, out->n - before);
    ssize_t n = base64_read(NULL, text);
    if (n < 0) return E_INVAL;
    base64_read(out->p + before, text); /* it stays behind what it reads */
    out->n = before + (size_t)n;
    return 0;
}

static int add_bare(const struct feed *feed, const struct frame *f, struct buf *out) {
    struct slice payload;
    size_t start = out->n, at = start;
    if (feed->kind == FEED_JSON && start > 0) at++;
    int err = at > start ? buf_add(out, ",", 1) : 0;
    if (err == 0) err = add_payload(f, out, &payload);
    if (err == 0 && !is_message(feed, f, payload)) {
        out->n = start;
        return 0;
    }
    if (err == 0 && feed->kind == FEED_JSON && !json_is_value(payload))
        err = quote(out, at);
    if (err == 0 && feed->kind == FEED_BYTES) err = decode(out, at);
    if (err < 0) out->n = start;
    return err < 0 ? err : 1;
}

/* ---- Events ------------------------------------------------------------------------- */

/* A blank behind the colon belongs to the framing: without one, a line that has its own needs
 * another. */
static int add_line(struct buf *out, const char *line, size_t n) {
    int err = buf_adds(out, n > 0 && line[0] == ' ' ? "data: " : "data:");
    if (err == 0) err = buf_add(out, line, n);
    return err < 0 ? err : buf_add(out, "\n", 1);
}

static int open_event(const struct feed *feed, struct feed_draft *draft,
                      const char *epoch, struct buf *out) {
    struct feed_control here = {.at = draft->at};
    int err = 0;
    if (feed->kind == FEED_JSON && draft->open) {
        out->p[out->n - 1] = ','; /* the line end of the value before */
        return buf_add(out, "\n", 1);
    }
    if (draft->open) err = feed_add_control(feed, draft, epoch, &here, out);
    if (err == 0) err = buf_adds(out, "event: data\n");
    return err == 0 && feed->kind == FEED_JSON ? buf_adds(out, "data:[\n") : err;
}

static int add_all_lines(struct slice text, struct buf *out) {
    int err = 0;
    for (const char *end = text.p; end && err == 0;) {
        end = memchr(text.p, '\n', text.n);
        size_t n = end ? (size_t)(end - text.p) : text.n;
        err = add_line(out, text.p, n);
        if (end) text = slice_of(end + 1, text.n - n - 1);
    }
    return err;
}

static int add_lines(const struct feed *feed, struct slice payload, struct buf *out) {
    if (feed->kind == FEED_BYTES && base64_read(NULL, payload) < 0) return E_INVAL;
    if (feed->kind != FEED_JSON || json_is_value(payload))
        return add_all_lines(payload, out);
    struct buf text = {0};
    int err = json_add_string(&text, payload);
    if (err == 0) err = add_line(out, text.p, text.n);
    buf_free(&text);
    return err;
}

static int add_event(const struct feed *feed, struct feed_draft *draft, const char *epoch,
                     const struct frame *f, struct buf *out) {
    struct slice payload;
    struct buf text = {0};
    struct feed_draft was = *draft;
    size_t start = out->n;
    int err = add_payload(f, &text, &payload);
    bool message = err == 0 && is_message(feed, f, payload);
    if (message) err = open_event(feed, draft, epoch, out);
    if (message && err == 0) err = add_lines(feed, payload, out);
    buf_free(&text);
    if (err < 0) {
        if (start > 0) out->p[start - 1] = '\n';
        out->n = start;
        *draft = was;
        return err;
    }
    if (message) *draft = (struct feed_draft){true, f->seq};
    return message;
}

int feed_add(struct feed *feed, struct feed_draft *draft, const char *epoch,
             const struct frame *f, struct buf *out) {
    if (f->seq > feed->closing && closes(feed, f)) feed->closing = f->seq;
    int n = feed->mode == FEED_SSE ? add_event(feed, draft, epoch, f, out)
                                   : add_bare(feed, f, out);
    if (n == E_INVAL) feed->fault = f->seq;
    return n;
}

int feed_add_control(const struct feed *feed, struct feed_draft *draft, const char *epoch,
                     const struct feed_control *control, struct buf *out) {
    char offset[FEED_OFFSET_LENGTH + 1];
    int err = 0;
    if (draft->open && feed->kind == FEED_JSON) err = buf_adds(out, "data:]\n");
    if (draft->open && err == 0) err = buf_add(out, "\n", 1);
    draft->open = false;
    feed_write_offset(offset, epoch, control->at);
    if (err == 0)
        err = buf_addf(out, "event: control\ndata:{\"streamNextOffset\":\"%s\"", offset);
    if (err == 0 && control->closed) return buf_adds(out, ",\"streamClosed\":true}\n\n");
    if (err == 0)
        err = buf_addf(out, ",\"streamCursor\":\"%llu\"%s}\n\n",
                       (unsigned long long)feed_cursor(feed),
                       control->up_to_date ? ",\"upToDate\":true" : "");
    return err;
}
