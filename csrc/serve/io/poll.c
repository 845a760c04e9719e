/* Homes, and the polls that wait in them; see poll.h. */
#include "serve/io/poll.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/status.h"
#include "fan/control.h"
#include "fan/fan.h"
#include "fan/poll_json.h"
#include "fan/stream_open.h"
#include "fan/unnamed.h"
#include "serve/io/dispatch.h"
#include "serve/io/mux.h"
#include "serve/io/outlet.h"
#include "serve/io/worker.h"
#include "serve/poll_token.h"
#include "serve/to_app.h"

#include <stdio.h>

struct poll {
    struct conn home;        /* without a socket */
    struct list due;         /* in worker->polls_due: its answer may be ready */
    struct list parked;      /* in worker->polls_parked: nobody waits, the oldest first */
    struct map_node node;    /* in worker->polls, by the client's id */
    struct conn *asker;      /* waits for the answer; NULL: nobody */
    struct request *request; /* the asker's */
    struct client *client;   /* also when it has ended */
    struct plan *plan;
    uint64_t mark;
    struct buf body; /* gathered for the next answer */
    struct buf last; /* what the last one brought */
    /* Numbers: the ids that the client has before and after that answer, or NO_ID. */
    uint64_t before, after;
    unsigned answers;
    unsigned asked, from; /* the token that was brought last; and for the last answer */
    uint16_t resets;      /* that were seen */
    int64_t since_ms;
    bool worth; /* the body has more than hello and sync */
    bool late;  /* the time of the poll is over */
    bool over;  /* the body ends with a bye, or with the end of its writer */
};

#define NO_ID UINT64_MAX

static struct poll *poll_of(struct conn *home) {
    return container_of(home, struct poll, home);
}

static struct stream *stream_of(struct poll *p) {
    return &p->home.outlet.stream;
}

static struct worker *worker_of(const struct poll *p) {
    return conn_worker(&p->home);
}

struct slice poll_key(const struct map_node *node) {
    return client_id(container_of(node, const struct poll, node)->client);
}

static struct poll *find(const struct worker *w, struct slice client) {
    struct map_node *node = map_get(&w->polls, client);
    return node ? container_of(node, struct poll, node) : NULL;
}

/* It is looked at by the end of this turn. */
static void make_due(struct poll *p) {
    if (list_empty(&p->due)) list_add(&worker_of(p)->polls_due, &p->due);
}

/* ---- Answers ------------------------------------------------------------------------ */

#define RETRY \
    ":ok\nretry: 500\n" /* browsers take no less, and an EventSource polls too */

/* The text of a body with what goes around it: the token is a line of the last block, since some
 * clients take a block without data for an event. */
static int add_text(struct buf *b, struct slice body, struct slice token) {
    bool last = body.n >= 2 && body.p[body.n - 1] == '\n';
    int err = buf_adds(b, RETRY);
    if (err == 0 && body.n > 0) err = buf_add(b, body.p, last ? body.n - 1 : body.n);
    if (err == 0 && token.n > 0) err = buf_addf(b, "poll: %.*s\n", (int)token.n, token.p);
    return err < 0 ? err : buf_adds(b, "\n");
}

static struct http_fields fields_of(const struct request *r, struct http_field room[4]) {
    bool json = r->polls == POLL_JSON;
    room[0] =
        (struct http_field){slice_str("Content-Type"),
                            slice_str(json ? "application/json" : "text/event-stream")};
    room[1] = (struct http_field){slice_str("Cache-Control"),
                                  slice_str("no-store, no-transform")};
    room[2] =
        (struct http_field){slice_str("X-Content-Type-Options"), slice_str("nosniff")};
    room[3] = (struct http_field){slice_str("Vary"), slice_str("Accept")};
    return (struct http_fields){room, 4};
}

static struct http_to to_of(struct conn *c, const struct request *r) {
    struct worker *w = conn_worker(c);
    struct http_to to = request_to(r, &w->date, w->wall_s);
    c->keep_alive = c->keep_alive && !w->draining;
    to.keep_alive = c->keep_alive;
    return to;
}

int poll_head(struct conn *c, const struct request *r) {
    struct http_field room[4];
    struct http_to to = to_of(c, r);
    return http_write_head(&c->talk->out, &to, 200, fields_of(r, room), HTTP_NO_LENGTH);
}

/* Queue an answer. Its connection then goes on to the next request. */
static void write_answer(struct conn *c, struct request *r, struct slice body,
                         struct slice cursor, struct slice token) {
    struct http_field room[4];
    struct http_to to = to_of(c, r);
    struct buf text = {0}, other = {0};
    int err = r->unnamed && r->polls == POLL_TEXT ? unnamed(&other, body) : 0;
    if (other.n > 0) body = buf_slice(&other);
    if (err == 0 && r->polls == POLL_JSON) err = poll_json(&text, body, cursor, token);
    else if (err == 0) err = add_text(&text, body, token);
    if (err == 0)
        err = http_write_answer(&c->talk->out, &to, 200, fields_of(r, room),
                                buf_slice(&text));
    buf_free(&text);
    buf_free(&other);
    if (err < 0) conn_doom(c, END_OVERLOAD);
}

/* An id of ours as text. */
static struct slice id_text(const struct worker *w, uint64_t seq, char room[40]) {
    return slice_of(room, seq == NO_ID ? 0 : eventid_text(room, w->fan.epoch, seq));
}

/* The number of the id that a request brings; NO_ID: none of ours. */
static uint64_t number_of(const struct worker *w, const struct request *r) {
    const struct eventid *id = &r->last_id;
    return id->kind == EVENTID_GOOD && strcmp(id->epoch, w->fan.epoch) == 0 ? id->seq
                                                                            : NO_ID;
}

void poll_refuse(struct conn *c, struct request *r, const struct bye *why) {
    struct worker *w = conn_worker(c);
    struct buf text = {0};
    char room[40];
    int64_t left_ms = w->fan.drained_ms - w->now_ms;
    struct control_bye bye = {.reason = why->reason, .status = why->status};
    if (bye.reason)
        bye.retry_ms = reason_retry_ms(bye_retry(why), &w->fan.random, left_ms);
    int err = bye.reason ? control_bye(&text, w->fan.epoch, &bye) : 0;
    if (err < 0) conn_doom(c, END_OVERLOAD);
    else
        write_answer(c, r, buf_slice(&text), id_text(w, number_of(w, r), room),
                     slice_of(NULL, 0));
    buf_free(&text);
}

/* Answer the one that waits; what was gathered goes along, or waits for the next one. */
static void answer(struct poll *p, struct slice body) {
    struct conn *c = p->asker;
    struct request *r = p->request;
    char token[POLL_TOKEN_MAX] = "", room[40];
    if (!p->over || p->body.n > 0)
        poll_token_write(token, p->client, p->mark, p->answers);
    write_answer(c, r, body, id_text(worker_of(p), p->after, room), slice_str(token));
    dispatch_log(c, r, 200);
    p->asker = NULL;
    p->request = NULL;
    request_unref(r);
    c->talk->poll = NULL;
    conn_next(c);
}

/* ---- Between two polls -------------------------------------------------------------- */

static void unpark(struct poll *p) {
    struct worker *w = worker_of(p);
    if (list_empty(&p->parked)) return;
    list_remove(&p->parked);
    w->n_parked--;
    w->parked_bytes -= p->last.n + p->body.n;
}

/* Nobody waits: the stream stands still, for some time. */
static void park(struct poll *p) {
    struct worker *w = worker_of(p);
    struct stream *s = stream_of(p);
    p->since_ms = w->now_ms;
    p->late = false;
    if (p->home.streams && !s->blocked) fan_on_result(s, FAN_BLOCKED, false);
    list_add(&w->polls_parked, &p->parked);
    w->n_parked++;
    w->parked_bytes += p->last.n + p->body.n;
    outlet_schedule(&p->home);
    while (w->n_parked > POLLS_PARKED_MAX || w->parked_bytes > POLLS_PARKED_BYTES_MAX) {
        struct poll *oldest = container_of(w->polls_parked.next, struct poll, parked);
        unpark(oldest);
        conn_doom_by(&oldest->home, END_GONE, BY_CROWD);
    }
}

/* What was gathered becomes an answer, which stays until the next one. */
static void turn_page(struct poll *p) {
    buf_free(&p->last);
    p->last = p->body;
    buf_init(&p->body);
    p->before = p->after;
    struct eventid newest = eventid_last(buf_slice(&p->last));
    bool ours =
        newest.kind == EVENTID_GOOD && strcmp(newest.epoch, worker_of(p)->fan.epoch) == 0;
    if (ours) p->after = newest.seq;
    p->from = p->asked;
    p->answers++;
    p->worth = false;
}

/* Its client may no longer read: what was given is not given again. */
static bool lost_its_right(struct poll *p) {
    enum end_reason reason = stream_of(p)->reason;
    return p->over &&
           (reason == END_DENIED || reason == END_REVOKED || reason == END_EXPIRED);
}

/* The answer with all that was gathered. */
static void give(struct poll *p) {
    struct conn *c = p->asker;
    if (p->body.n > 0) {
        turn_page(p);
        answer(p, buf_slice(&p->last));
        if (lost_its_right(p)) buf_free(&p->last);
    } else {
        answer(p, slice_of(NULL, 0));
    }
    park(p);
    conn_go_on(c);
}

/* The client has ended: for the app it is gone now, although its bye may still be asked for. */
static void close_client(struct poll *p) {
    if (!p->over || !p->home.streams) return;
    outlet_close(&p->home.outlet);
    p->home.streams = false;
}

static bool is_ready(struct poll *p) {
    const struct stream *s = stream_of(p);
    if (!p->asker || !(p->worth || p->late || p->over)) return false;
    bool more = p->home.streams && !s->blocked && !list_empty(&s->ready);
    return !more || p->body.n >= POLL_BYTES_MAX;
}

bool poll_give(struct worker *w) {
    struct list turn;
    list_init(&turn);
    list_take_all(&turn, &w->polls_due);
    while (!list_empty(&turn)) {
        struct poll *p = container_of(turn.next, struct poll, due);
        list_remove(&p->due);
        if (p->home.doomed) continue;
        if (is_ready(p)) give(p);
        else if (p->asker && (p->worth || p->late)) make_due(p); /* more is to come */
        close_client(p);
    }
    return !list_empty(&w->fan.ready);
}

/* ---- What its stream is sent -------------------------------------------------------- */

static void drop_last(struct poll *p) {
    if (!list_empty(&p->parked)) worker_of(p)->parked_bytes -= p->last.n;
    buf_free(&p->last);
}

void poll_on_deny(struct conn *home) {
    drop_last(poll_of(home));
}

enum fan_sent poll_send(struct conn *home, struct block *b) {
    struct poll *p = poll_of(home);
    struct outlet *o = &home->outlet;
    struct stream *s = &o->stream;
    bool over = b->end != STREAM_GOES_ON;
    if (buf_add(&p->body, block_bytes(b), b->n) < 0) {
        block_unref(b);
        conn_doom(home, END_OVERLOAD);
        return FAN_GONE;
    }
    if (!list_empty(&p->parked)) worker_of(p)->parked_bytes += b->n;
    client_count(p->client, b->events, b->n, s->resets);
    p->worth = p->worth || b->events > 0 || o->unacked > 0 || s->resets != p->resets;
    p->resets = s->resets;
    p->over = over;
    if (lost_its_right(p)) drop_last(p);
    if (o->unacked > 0 && s->note_bytes == 0) outlet_acknowledge(o);
    block_unref(b);
    if (over || (p->worth && p->asker)) make_due(p);
    bool more = p->body.n < POLL_BYTES_MAX && (p->asker || s->ending);
    return over || more ? FAN_SENT : FAN_BLOCKED;
}

/* What no answer has brought goes back. */
bool poll_take_back(struct conn *home) {
    struct poll *p = poll_of(home);
    if (!list_empty(&p->parked)) worker_of(p)->parked_bytes -= p->body.n;
    buf_free(&p->body);
    p->worth = false;
    return true;
}

void poll_on_end(struct conn *home) {
    struct poll *p = poll_of(home);
    struct stream *s = stream_of(p);
    if (home->streams && s->ending && s->blocked && !p->over) stream_writable(s);
}

/* ---- Opening ------------------------------------------------------------------------ */

static struct plan_spec spec_of(const struct plan *plan) {
    return (struct plan_spec){plan->specs, plan->n, plan->options};
}

/* A home for a client that is new here. */
static struct poll *poll_new(struct worker *w, struct plan *plan, struct client *client) {
    struct poll *p = mem_new(sizeof *p);
    struct plan_spec spec = spec_of(plan);
    list_init(&p->due);
    list_init(&p->parked);
    wheel_timer_init(&p->home.timer);
    ev_io_init(&p->home.io, NULL, -1, 0);
    p->home.io.data = w;
    p->home.polls = true;
    p->home.phase = CONN_STREAM;
    list_add(&w->conns, &p->home.node);
    p->client = client_ref(client);
    p->plan = plan_ref(plan);
    p->mark = plan_mark(&spec);
    p->before = p->after = NO_ID;
    map_add(&w->polls, &p->node);
    return p;
}

static void init_stream(struct poll *p) {
    struct stream *s = stream_of(p);
    stream_init(s, &worker_of(p)->fan, FORM_CHUNKED);
    s->ends_clean = true;
}

static int open_stream(struct poll *p, struct request *r) {
    struct outlet *o = &p->home.outlet;
    init_stream(p);
    o->opened_ms = worker_of(p)->now_ms;
    p->after = number_of(worker_of(p), r);
    int err = outlet_begin(o, r, p->plan, p->client, true);
    if (err < 0) {
        stream_deinit(&o->stream);
        conn_doom(&p->home, END_GONE);
        return err;
    }
    p->home.streams = true;
    atomic_fetch_add_explicit(&worker_of(p)->lane.counters.streams, 1,
                              memory_order_relaxed);
    return 0;
}

/* Its client was cut in the middle of an answer, or holds another id for some other reason: begin
 * anew with what that says, as a stream does, with all that it follows now. What client:send gave
 * and no answer has brought yet comes along. */
static int reopen(struct poll *p, struct request *r) {
    struct stream *s = stream_of(p);
    if (!p->home.streams || s->plain || s->ending) return E_CLOSED;
    struct plan *now = stream_plan(s, p->plan);
    if (!now) return E_NOMEM;
    struct note *own = stream_take_own(s);
    if (!own) outlet_acknowledge(&p->home.outlet);
    stream_deinit(s);
    init_stream(p);
    buf_free(&p->body);
    buf_free(&p->last);
    p->worth = false;
    p->resets = 0;
    p->before = NO_ID;
    p->after = number_of(worker_of(p), r);
    int err = outlet_begin(&p->home.outlet, r, now, p->client, true);
    plan_unref(now);
    stream_put_own(s, own);
    return err;
}

/* Whether the client has this id; without one it relies on its token. */
static bool holds(const struct poll *p, const struct request *r, uint64_t seq) {
    if (r->last_id.kind == EVENTID_NONE) return true;
    return seq != NO_ID && number_of(worker_of(p), r) == seq;
}

/* What a connection that waits no longer does next, at the end of this turn. */
static void go_on_later(struct conn *c) {
    ev_feed_event(conn_worker(c)->loop.ev, &c->io, EV_WRITE);
}

/* A second poll of the same client takes the place of the first. */
static void supersede(struct poll *p) {
    struct conn *c = p->asker;
    answer(p, slice_of(NULL, 0));
    go_on_later(c);
}

/* It waits for the next answer. */
static void wait_for_answer(struct poll *p, struct conn *c, struct request *r) {
    struct stream *s = stream_of(p);
    p->asker = c;
    p->request = request_ref(r);
    p->since_ms = conn_worker(c)->now_ms;
    p->late = false;
    c->talk->poll = p;
    c->phase = CONN_POLL;
    if (p->home.streams && s->blocked && !p->over) stream_writable(s);
    if (p->worth || p->over) make_due(p);
    outlet_schedule(&p->home);
}

/* The last answer was lost, from somewhere on. */
static void repeat(struct poll *p, struct conn *c, struct request *r, struct slice text) {
    wait_for_answer(p, c, r);
    answer(p, text);
    park(p);
}

static bool ends(struct poll *p) {
    return p->over || (p->home.streams && stream_of(p)->ending);
}

/* There is no answer that fits the id it has. Of a client that has ended it hears that, and comes
 * back with that id if it may; else it is a newcomer next time. */
static void turn_away(struct poll *p, struct conn *c, struct request *r) {
    enum end_reason reason = ends(p) ? stream_of(p)->reason : END_NONE;
    if (reason && !reason_end(reason)->has_bye) reason = END_NONE;
    poll_refuse(c, r, &(struct bye){.reason = reason});
    dispatch_log(c, r, 200);
    if (reason) park(p);
    else conn_doom(&p->home, END_GONE);
}

/* What the last answer of a client that ends had behind the id that it was cut at. */
static struct slice rest_of_last(struct poll *p, const struct request *r) {
    char room[40], line[48];
    uint64_t seq = number_of(worker_of(p), r);
    struct slice id = id_text(worker_of(p), seq, room), last = buf_slice(&p->last);
    if (!ends(p) || seq == NO_ID || last.n == 0) return slice_of(NULL, 0);
    int n = snprintf(line, sizeof line, "\nid: %.*s\n\n", (int)id.n, id.p);
    const char *at = memmem(last.p, last.n, line, (size_t)n);
    if (!at) return slice_of(NULL, 0);
    at += n;
    return slice_of(at, last.n - (size_t)(at - last.p));
}

/* A client that was here before. */
static void come_back(struct poll *p, struct conn *c, struct request *r,
                      const struct poll_token *t) {
    if (p->asker) supersede(p);
    unpark(p);
    bool has_last = t->answers == p->answers && !(p->over && p->body.n == 0);
    bool lost = !has_last && t->answers == p->from && p->last.n > 0;
    struct slice rest = rest_of_last(p, r);
    if (lost && holds(p, r, p->before)) {
        repeat(p, c, r, buf_slice(&p->last));
    } else if ((has_last && holds(p, r, p->after)) || reopen(p, r) == 0) {
        p->asked = t->answers;
        wait_for_answer(p, c, r);
    } else if ((has_last || lost) && rest.n > 0) {
        repeat(p, c, r, rest);
    } else {
        turn_away(p, c, r);
    }
}

bool poll_lead(struct conn *c, struct request *r) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    struct worker *w = conn_worker(c);
    struct poll_token t;
    if (!poll_token_read(r, &t)) return false;
    if (t.lane != w->lane.index && c->carried)
        return mux_lead(c, w->hub->lanes[t.lane]); /* or it begins anew here */
    if (t.lane != w->lane.index) {
        conn_move(c, w->hub->lanes[t.lane]);
        return true;
    }
    const struct poll *p = find(w, t.client);
    if (p && !p->home.doomed) r->held = client_ref(p->client);
    return false;
}

struct client *poll_client(const struct conn *c, struct request *r,
                           const struct plan *plan) {
    const struct worker *w = conn_worker(c);
    struct plan_spec spec = spec_of(plan);
    struct poll_holder holder = {NULL, r->path, plan_mark(&spec)};
    struct poll_token t;
    struct poll *p = NULL;
    if (r->polls && poll_token_read(r, &t)) p = find(w, t.client);
    r->again = p && !p->home.doomed && poll_token_is_of(&t, w->hub, &holder);
    if (r->again) return client_ref(p->client);
    return request_client(r, NULL, false);
}

int poll_take(struct conn *c, struct request *r, struct plan *plan,
              struct client *client) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    struct worker *w = conn_worker(c);
    struct poll *p = r->again ? find(w, slice_str(client->id)) : NULL;
    struct poll_token t;
    if (r->again && (!p || p->home.doomed || !poll_token_read(r, &t))) {
        poll_refuse(c, r, &(struct bye){0}); /* its stream has ended meanwhile */
        dispatch_log(c, r, 200);
    } else if (r->again) {
        p->home.outlet.expires = plan->options.expires;
        come_back(p, c, r, &t);
    } else {
        p = poll_new(w, plan, client);
        int err = open_stream(p, r);
        if (err < 0) return err;
        wait_for_answer(p, c, r);
    }
    if (w->draining && p && p->asker)
        poll_drain(&p->home, worker_stops_ms(w) - w->now_ms);
    return 0;
}

/* ---- Ends --------------------------------------------------------------------------- */

/* Who has got no answer yet has no token to come back with. */
void poll_leave(struct conn *c) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    struct poll *p = c->talk->poll;
    c->talk->poll = NULL;
    p->asker = NULL;
    request_unref(p->request);
    p->request = NULL;
    if (p->home.doomed) return;
    if (p->answers == 0) {
        conn_doom_by(&p->home, END_GONE, BY_CLIENT);
        return;
    }
    if (p->worth && !p->over) turn_page(p); /* lost, like one that was on its way */
    park(p);
}

void poll_drain(struct conn *home, int64_t window_ms) {
    struct poll *p = poll_of(home);
    if (p->asker && home->streams) outlet_drain(&home->outlet, window_ms);
    else if (!p->asker) conn_doom(home, END_DRAIN);
}

int64_t poll_due_in(const struct conn *home) {
    const struct poll *p = container_of(home, const struct poll, home);
    int64_t until = p->since_ms + (p->asker ? POLL_WAIT_MS : POLL_GRACE_MS);
    int64_t left = until - conn_worker(home)->now_ms;
    return left > 0 ? left : 0;
}

void poll_on_timer(struct conn *home) {
    struct poll *p = poll_of(home);
    poll_on_end(home);
    if (poll_due_in(home) > 0) return;
    if (!p->asker) {
        conn_doom_by(home, END_GONE, BY_ABSENCE);
    } else if (!p->late) {
        p->late = true;
        if (home->streams && stream_wants_sync(stream_of(p), worker_of(p)->now_ms))
            stream_sync(stream_of(p));
        make_due(p);
    }
}

void poll_free(struct conn *home) {
    struct poll *p = poll_of(home);
    if (p->asker) {
        struct conn *c = p->asker;
        poll_leave(c);
        conn_doom(c, END_OVERLOAD);
    }
    unpark(p);
    list_remove(&p->due);
    map_remove(&worker_of(p)->polls, &p->node);
    if (home->streams) outlet_close(&home->outlet);
    list_remove(&home->node);
    buf_free(&p->body);
    buf_free(&p->last);
    client_unref(p->client);
    plan_unref(p->plan);
    mem_free(p);
}
