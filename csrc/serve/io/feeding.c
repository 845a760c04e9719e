/* Queries, pages and their heads; see feeding.h. */
#include "serve/io/feeding.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"
#include "fan/stream_open.h"
#include "fan/sub.h"
#include "net/url.h"
#include "serve/io/dispatch.h"
#include "serve/io/narrow.h"
#include "serve/io/output.h"
#include "serve/io/worker.h"
#include "serve/to_app.h"

#include <stdio.h>

struct feeding {
    struct list node; /* in worker->feedings: it can be answered */
    struct conn *conn;
    struct feed_ask ask;
    struct buf body;
    uint32_t events;
    bool is_public;    /* nobody was asked who may read it */
    bool waits;        /* for the next event: all that was there is nothing */
    bool failed;       /* no memory for its body */
    struct plan *live; /* a live reader asks for it, and waits to hear of a loss; NULL */
    struct client *live_client;
    int64_t until_ms;
    double expires; /* as in its plan */
};

/* ---- What is asked for -------------------------------------------------------------- */

#define CURSOR_DIGITS_MAX 18

static unsigned count_params(struct slice rest, const char *name) {
    unsigned all = 0, n = 0;
    struct url_param p;
    while (url_query_next(&rest, &all, &p) > 0) n += url_name_is(p.name, name) > 0;
    return n;
}

/* What is no number is no cursor of ours. */
static uint64_t read_cursor(const struct request *r) {
    char text[CURSOR_DIGITS_MAX + 1];
    int n = url_query_get(r->query, "cursor", text, CURSOR_DIGITS_MAX);
    uint64_t cursor = 0;
    for (int i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9') return 0;
        cursor = cursor * 10 + (uint64_t)(text[i] - '0');
    }
    return cursor;
}

static const char *read_mode(const struct request *r, struct feed_ask *ask) {
    char text[16];
    int n = url_query_get(r->query, "live", text, sizeof text);
    struct slice live = slice_of(text, n > 0 ? (size_t)n : 0);
    if (n == -404) return NULL;
    if (slice_eq_lit(live, "long-poll")) ask->mode = FEED_POLL;
    else if (slice_eq_lit(live, "sse")) ask->mode = FEED_SSE;
    else return "live: long-poll or sse is expected";
    return NULL;
}

const char *feeding_read_ask(const struct request *r, struct feed_ask *ask) {
    char text[FEED_OFFSET_LENGTH + 1];
    *ask = (struct feed_ask){.mode = FEED_PAGE};
    const char *wrong = read_mode(r, ask);
    if (wrong) return wrong;
    if (r->is_head) {
        *ask = (struct feed_ask){.mode = FEED_PAGE, .at_end = true};
        return NULL;
    }
    unsigned n_offsets = count_params(r->query, "offset");
    if (n_offsets > 1) return "offset: it comes twice";
    if (n_offsets == 0)
        return ask->mode == FEED_PAGE ? NULL : "offset: a live reader says where it is";
    int n = url_query_get(r->query, "offset", text, sizeof text);
    if (n < 0 || feed_read_offset(ask, slice_of(text, (size_t)n)) < 0)
        return "offset: -1, now, or the Stream-Next-Offset of an answer is expected";
    ask->cursor = read_cursor(r);
    return NULL;
}

/* ---- Heads -------------------------------------------------------------------------- */

struct head {
    struct http_field fields[FEEDING_FIELDS_MAX];
    size_t n;
    char offset[FEED_OFFSET_LENGTH + 1], cursor[24], etag[96];
};

static void add(struct head *h, const char *name, const char *value) {
    h->fields[h->n++] = (struct http_field){slice_str(name), slice_str(value)};
}

static size_t add_common(const struct request *r, bool is_public,
                         struct http_field *out) {
    const char *whose = is_public ? "cross-origin" : "same-origin";
    if (r->n_cors > 0) whose = "cross-origin";
    size_t n = 0;
    out[n++] =
        (struct http_field){slice_str("Cross-Origin-Resource-Policy"), slice_str(whose)};
    if (r->n_cors > 0)
        out[n++] = (struct http_field){slice_str("Access-Control-Expose-Headers"),
                                       slice_str("Stream-Next-Offset, Stream-Cursor, "
                                                 "Stream-Up-To-Date, Stream-Closed, "
                                                 "Stream-SSE-Data-Encoding, ETag")};
    return n;
}

size_t feeding_stream_fields(const struct request *r, const struct plan *plan,
                             struct http_field *out) {
    size_t n = add_common(r, r->route->plan != NULL, out);
    out[n++] = (struct http_field){slice_str("Cache-Control"), slice_str("no-cache")};
    if (plan->options.feed.kind == FEED_BYTES)
        out[n++] = (struct http_field){slice_str("Stream-SSE-Data-Encoding"),
                                       slice_str("base64")};
    return n;
}

/* Where the log is, seen from the page. */
struct place {
    const struct chan *c;
    uint64_t next; /* where to go on */
    bool all, closed;
};

static struct place place_of(const struct stream *s) {
    const struct chan *c = sub_chan(s->subs);
    struct place p = {.c = c, .next = s->cursor, .all = s->cursor >= c->kept->last};
    if (p.all) p.next = feed_end(&s->fan->chans, c);
    if (p.next < s->feed->from) p.next = s->feed->from;
    p.closed = p.all && feed_is_closed(s->feed, c);
    return p;
}

/* What the bytes of a page follow from; and how many they are, since its first ones may age. */
static void write_etag(struct head *h, const struct stream *s, const struct place *p,
                       size_t size) {
    const struct feed *feed = s->feed;
    const struct plan *plan = feed->plan;
    struct plan_spec spec = {plan->specs, plan->n, plan->options};
    uint64_t marks[] = {plan_mark(&spec), feed->shape, feed->from, size};
    uint64_t mark = map_mark(1, slice_of((const char *)marks, sizeof marks));
    mark = map_mark(mark, plan->options.feed.type);
    snprintf(h->etag, sizeof h->etag, "\"%llx-%s%s\"", (unsigned long long)mark,
             h->offset, p->closed ? "-closed" : "");
}

/* Who may keep it. What depends on who asks is asked for anew each time; so is the beginning,
 * since a reader that has lost its place must not be led to where the log began once. */
static const char *cache_control(const struct feeding *f, int status) {
    if (status == 204 || f->ask.at_end) return "no-store";
    if (!f->is_public) return "private, no-cache";
    bool moves = f->events == 0 || f->ask.from.kind == EVENTID_NONE;
    return moves ? "no-cache" : "public, max-age=60, stale-while-revalidate=300";
}

static void make_head(struct head *h, const struct request *r, const struct stream *s,
                      const struct feeding *f, int status) {
    struct place p = place_of(s);
    *h = (struct head){0};
    h->n = add_common(r, f->is_public, h->fields);
    if (status == 200)
        h->fields[h->n++] = (struct http_field){slice_str("Content-Type"),
                                                s->feed->plan->options.feed.type};
    feed_write_offset(h->offset, s->fan->epoch, p.next);
    add(h, "Stream-Next-Offset", h->offset);
    if (p.all) add(h, "Stream-Up-To-Date", "true");
    if (p.closed) add(h, "Stream-Closed", "true");
    if (f->ask.mode == FEED_POLL) {
        snprintf(h->cursor, sizeof h->cursor, "%llu",
                 (unsigned long long)feed_cursor(s->feed));
        add(h, "Stream-Cursor", h->cursor);
    }
    write_etag(h, s, &p, f->body.n);
    if (status == 200 && !f->ask.at_end) add(h, "ETag", h->etag);
    add(h, "Cache-Control", cache_control(f, status));
    add(h, "X-Content-Type-Options", "nosniff");
}

/* ---- Answers ------------------------------------------------------------------------ */

static void close_stream(struct conn *c, enum end_reason reason) {
    struct feeding *f = conn_feeding(c);
    stream_deinit(&c->outlet.stream);
    list_remove(&f->node);
    c->talk->feeding = NULL;
    if (f->live_client) to_app_closed(f->live_client, reason);
    client_unref(f->live_client);
    plan_unref(f->live);
    buf_free(&f->body);
    mem_free(f);
}

/* The request ends with an error, and so does the page. */
static void refuse(struct conn *c, int status, const char *code, const char *message) {
    if (conn_feeding(c)) close_stream(c, END_GONE);
    dispatch_log(c, c->talk->request, status);
    if (output_answer(c, status, code, message) == 0) conn_next(c);
}

static const char gone[] =
    "what follows this offset is not kept any more: offset=-1 begins "
    "with what is left";

/* Its stream has ended before the page did. */
static void refuse_ended(struct conn *c) {
    const struct stream *s = &c->outlet.stream;
    if (s->feed->fault)
        refuse(c, 500, NULL, "an event of this log is no base64, as its type says");
    else if (s->feed->lost == RESET_DENIED || s->reason == END_DENIED)
        refuse(c, 403, NULL, NULL);
    else if (s->feed->lost || s->reason == END_SLOW) refuse(c, 410, NULL, gone);
    else if (s->reason == END_EXPIRED || s->reason == END_REVOKED)
        refuse(c, 401, NULL, NULL);
    else refuse(c, 503, NULL, NULL);
}

/* The body behind the head; an array around values. */
static int add_body(struct buf *out, const struct stream *s, const struct feeding *f) {
    bool json = s->feed->kind == FEED_JSON;
    int err = json ? buf_add(out, "[", 1) : 0;
    if (err == 0) err = buf_add(out, f->body.p, f->body.n);
    return err == 0 && json ? buf_add(out, "]", 1) : err;
}

static int write_page(struct conn *c, const struct request *r, int *status) {
    struct worker *w = conn_worker(c);
    const struct stream *s = &c->outlet.stream;
    const struct feeding *f = conn_feeding(c);
    struct buf *out = &c->talk->out;
    struct http_to to = request_to(r, &w->date, w->wall_s);
    struct head h;
    to.keep_alive = c->keep_alive;
    *status = f->ask.mode == FEED_POLL && f->events == 0 ? 204 : 200;
    make_head(&h, r, s, f, *status);
    bool has_tag = *status == 200 && !f->ask.at_end;
    if (has_tag && http_none_match(request_fields(r), slice_str(h.etag))) *status = 304;
    size_t n = f->body.n + (s->feed->kind == FEED_JSON ? 2 : 0), before = out->n;
    int err = http_write_head(out, &to, *status, (struct http_fields){h.fields, h.n}, n);
    if (err == 0 && *status == 200 && !r->is_head) err = add_body(out, s, f);
    if (err < 0) out->n = before;
    return err;
}

/* Not when the page has what goes before the fault. */
static bool has_ended(const struct conn *c) {
    const struct stream *s = &c->outlet.stream;
    if (!s->subs) return true;
    return s->ending && !(s->feed->fault && c->talk->feeding->events > 0);
}

/* Nothing is lost where it is: the stream begins. */
static void go_live(struct conn *c) {
    struct feeding *f = conn_feeding(c);
    struct plan *plan = f->live;
    struct client *client = f->live_client;
    f->live = NULL;
    f->live_client = NULL;
    close_stream(c, END_END);
    dispatch_stream(c, c->talk->request, plan, client);
    client_unref(client);
    plan_unref(plan);
}

static void answer(struct conn *c) {
    struct feeding *f = conn_feeding(c);
    struct request *r = c->talk->request;
    int status;
    if (f->failed) {
        refuse(c, 503, NULL, NULL);
    } else if (has_ended(c)) {
        refuse_ended(c);
    } else if (f->live) {
        go_live(c);
    } else if (write_page(c, r, &status) < 0) {
        refuse(c, 503, NULL, NULL);
    } else {
        close_stream(c, END_END);
        dispatch_log(c, r, status);
        conn_next(c);
    }
}

void feeding_answer_all(struct worker *w) {
    ASSERT_OWNER(&w->loop);
    struct list now;
    list_init(&now);
    list_take_all(&now, &w->feedings);
    while (!list_empty(&now)) {
        struct feeding *f = container_of(now.next, struct feeding, node);
        list_remove(&f->node);
        struct conn *c = f->conn;
        if (c->doomed) continue;
        answer(c);
        conn_go_on(c);
    }
}

/* ---- Pages -------------------------------------------------------------------------- */

static int add_block(struct feeding *f, const struct feed *feed, const struct block *b) {
    bool joins = feed->kind == FEED_JSON && f->body.n > 0 && b->n > 0 && !PLANTED(308);
    int err = joins ? buf_add(&f->body, ",", 1) : 0;
    f->events += b->events;
    return err < 0 ? err : buf_add(&f->body, block_bytes(b), b->n);
}

/* All that was there when it began is in it. */
static bool is_whole(const struct conn *c) {
    const struct feeding *f = conn_feeding(c);
    const struct stream *s = &c->outlet.stream;
    if (s->last_note) return false;
    return f->ask.mode == FEED_PAGE || f->events > 0 ||
           (s->subs && feed_is_closed(s->feed, sub_chan(s->subs)));
}

enum fan_sent feeding_send(struct conn *c, struct block *b) {
    struct feeding *f = conn_feeding(c);
    bool ended = b->end != STREAM_GOES_ON;
    if (c->doomed) ended = true;
    else if (!ended && add_block(f, c->outlet.stream.feed, b) < 0) f->failed = true;
    block_unref(b);
    f->waits = c->outlet.stream.last_note == NULL;
    if (!ended && !f->failed && !f->live && f->body.n < FEED_ANSWER_MAX && !is_whole(c))
        return FAN_SENT;
    if (list_empty(&f->node)) list_add(&conn_worker(c)->feedings, &f->node);
    return FAN_GONE;
}

/* ---- Beginning ---------------------------------------------------------------------- */

static int open_page(struct conn *c, struct request *r, struct plan *plan,
                     const struct feed_ask *ask) {
    struct worker *w = conn_worker(c);
    struct outlet *o = &c->outlet;
    struct feeding *f = mem_new(sizeof *f);
    int64_t allowed = ask->mode == FEED_POLL ? plan->options.feed.wait_ms
                                             : w->hub->options.request_timeout_ms;
    *f = (struct feeding){.conn = c,
                          .ask = *ask,
                          .is_public = r->route->plan != NULL,
                          .until_ms = w->now_ms + allowed,
                          .expires = plan->options.expires};
    list_init(&f->node);
    stream_init(&o->stream, &w->fan, FORM_CHUNKED);
    c->talk->feeding = f;
    struct stream_opening opening = {.plan = {plan->specs, plan->n, plan->options},
                                     .last_id = ask->from,
                                     .ask = ask,
                                     .feed_plan = plan};
    return stream_open(&o->stream, &opening);
}

static void begin_page(struct conn *c, struct request *r, struct plan *plan,
                       const struct feed_ask *ask) {
    int err = open_page(c, r, plan, ask);
    if (err == E_TRIMMED) refuse(c, 410, NULL, gone);
    else if (err == E_INVAL) refuse(c, 500, NULL, "a feed reads one log with a history");
    else if (err < 0) refuse(c, 503, NULL, NULL);
}

static void refuse_early(struct conn *c, struct client *client, int status,
                         const char *message) {
    if (client) to_app_closed(client, END_DENIED);
    refuse(c, status, NULL, message);
}

/* A head cannot be taken back: where only the store knows whether something is lost, a page is
 * asked for before the stream begins. */
static void begin(struct conn *c, struct request *r, struct plan *plan,
                  struct client *client, struct feed_ask *ask) {
    bool live = ask->mode == FEED_SSE;
    if (live && ask->from.kind != EVENTID_GOOD) {
        dispatch_stream(c, r, plan, client);
        return;
    }
    if (live) ask->mode = FEED_PAGE;
    begin_page(c, r, plan, ask);
    struct feeding *f = conn_feeding(c);
    if (!f) {
        if (client) to_app_closed(client, END_GONE);
        return;
    }
    if (!live) return;
    f->live = plan_ref(plan);
    if (client) f->live_client = client_ref(client);
    if (!c->outlet.stream.seeks || PLANTED(309)) go_live(c);
}

bool feeding_begin(struct conn *c, struct request *r, struct plan *plan,
                   struct client *client) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    struct feed_ask ask;
    double expires = plan->options.expires;
    const char *wrong = feeding_read_ask(r, &ask);
    if (wrong) refuse_early(c, client, 400, wrong);
    else if (expires != 0 && expires <= clock_wall()) refuse_early(c, client, 401, NULL);
    else begin(c, r, plan, client, &ask);
    return false; /* answered here, if at all */
}

/* ---- Time and ends ------------------------------------------------------------------ */

bool feeding_waits(const struct conn *c) {
    return conn_feeding(c) && c->talk->feeding->waits;
}

int64_t feeding_due_ms(const struct conn *c) {
    const struct feeding *f = conn_feeding(c);
    int64_t due = f->until_ms;
    if (f->expires == 0) return due;
    double left = f->expires - clock_wall();
    int64_t over = conn_worker(c)->now_ms + (left > 0 ? (int64_t)(left * 1000) + 1 : 0);
    return left < EXPIRES_LOOK_MS / 1000.0 && over < due ? over : due;
}

void feeding_on_timer(struct conn *c) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    struct feeding *f = conn_feeding(c);
    if (f->expires != 0 && f->expires <= clock_wall()) refuse(c, 401, NULL, NULL);
    else if (conn_worker(c)->now_ms < f->until_ms) return;
    else if (f->waits) answer(c);
    else refuse(c, 504, NULL, NULL);
}

void feeding_drain(struct conn *c) {
    if (feeding_waits(c)) answer(c);
    else refuse(c, 503, NULL, NULL);
}

void feeding_close(struct conn *c) {
    close_stream(c, END_GONE);
    conn_release(c);
}
