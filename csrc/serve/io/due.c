/* Deadlines of a connection; see due.h. */
#include "serve/io/due.h"

#include "base/bounds.h"
#include "serve/io/dispatch.h"
#include "serve/io/feeding.h"
#include "serve/io/mux.h"
#include "serve/io/output.h"
#include "serve/io/upload.h"
#include "serve/io/worker.h"

/* ---- When --------------------------------------------------------------------------- */

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Between requests it may be idle; what it has not taken yet is another matter. */
static int64_t head_due(const struct conn *c) {
    const struct serve_options *o = &conn_worker(c)->hub->options;
    if (c->talk->scanned > 0) return c->talk->since_ms + o->head_timeout_ms;
    return conn_unsent(c) > 0 ? INT64_MAX : c->talk->since_ms + o->idle_timeout_ms;
}

static int64_t body_due(const struct conn *c) {
    return c->talk->since_ms + conn_worker(c)->hub->options.body_timeout_ms +
           (int64_t)(c->talk->request->body.n / BODY_RATE_MIN) * 1000;
}

int64_t due_reply_ms(const struct conn *c) {
    const struct worker *w = conn_worker(c);
    struct request *r = c->talk->request;
    int64_t allowed = w->hub->options.request_timeout_ms;
    if (atomic_load(&r->state) == REQUEST_TAKEN)
        return r->upload ? upload_app_due_ms(c) : r->taken_ms + allowed;
    /* taken in the next moment it would be due then */
    int64_t due = earlier(c->talk->since_ms + QUEUE_TIMEOUT_MS, w->now_ms + allowed);
    return w->draining ? earlier(due, worker_stops_ms(w)) : due;
}

/* When a stream's head goes out although its plan has not come. */
static int64_t late_due(const struct conn *c) {
    const struct request *r = c->talk->request;
    if (r->route->kind != ROUTE_STREAM || r->polls) return INT64_MAX;
    return c->talk->since_ms + conn_worker(c)->hub->options.late_head_ms;
}

static int64_t wait_due(const struct conn *c) {
    return earlier(earlier(due_reply_ms(c), late_due(c)), upload_due_ms(c));
}

/* Something has to go out yet: of answers, or over TLS the word that they were the last. */
static bool owes(const struct conn *c) {
    return conn_unsent(c) > 0 || c->phase == CONN_FLUSH;
}

/* When to look at it, whatever comes; INT64_MAX: no need. A stream's outlet knows its own
 * time. */
static int64_t due_ms(const struct conn *c) {
    int64_t taken = conn_worker(c)->now_ms - output_quiet_ms(c), due = INT64_MAX;
    if (c->phase == CONN_LINGER) return taken + LINGER_TIMEOUT_MS;
    if (c->phase == CONN_HEAD) due = head_due(c);
    else if (c->phase == CONN_BODY) due = body_due(c);
    else if (c->phase == CONN_MUX) due = mux_due_ms(c);
    else if (c->phase == CONN_WAIT)
        due = conn_feeding(c) ? feeding_due_ms(c) : wait_due(c);
    if (!owes(c)) return due;
    return earlier(due, taken + conn_worker(c)->hub->options.stall_timeout_ms);
}

/* A time that moves later is only noted: the wheel looks again when the old one comes. */
void due_set(struct conn *c) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    int64_t due = due_ms(c);
    if (due == INT64_MAX) wheel_cancel(&c->timer);
    else if (!list_empty(&c->timer.node) && due >= c->timer.at_ms) c->timer.at_ms = due;
    else wheel_set(&conn_worker(c)->wheel, &c->timer, due);
}

/* ---- What then ---------------------------------------------------------------------- */

/* Answer what the app shall not answer any more. */
static void end_wait(struct conn *c, int status) {
    struct request *r = c->talk->request;
    if (r->route->kind == ROUTE_STREAM) dispatch_head(c, r);
    else {
        dispatch_log(c, r, status);
        output_answer(c, status, NULL, NULL);
    }
    conn_drop_request(c);
    conn_next(c);
}

/* The app has not begun the request, or not answered it in time: give it up. */
static bool give_up(struct conn *c) {
    struct request *r = c->talk ? c->talk->request : NULL;
    if (!r || conn_worker(c)->now_ms < due_reply_ms(c)) return false;
    if (queue_withdraw(r)) {
        dispatch_overload(c, r);
    } else if (request_streams(r)) {
        dispatch_bye(c, r, &(struct bye){.reason = END_ERROR, .cause = BY_SLOW_PLAN});
        conn_drop_request(c);
        if (c->phase == CONN_WAIT) conn_next(c);
        conn_end_talk(c);
    } else {
        end_wait(c, 504);
    }
    return true;
}

static void on_wait_timer(struct conn *c) {
    struct request *r = c->talk->request;
    if (conn_worker(c)->now_ms >= upload_due_ms(c)) {
        upload_on_late(c);
        return;
    }
    if (give_up(c) || conn_worker(c)->now_ms < late_due(c)) return;
    if (r->is_head) end_wait(c, 200);
    else if (outlet_open(c, r, NULL, NULL) < 0) conn_doom(c, END_OVERLOAD);
}

/* Whether the peer still sends a body that nobody waits for, and has time for it. */
static bool sends_on(struct conn *c) {
    struct talk *t = c->talk;
    if (!t || t->spare == t->spare_seen) return false;
    t->spare_seen = t->spare;
    return conn_worker(c)->now_ms < t->since_ms + LINGER_BODY_MS;
}

/* As long as the peer takes what the kernel holds it may go on: closing now would throw
 * that away if it has sent anything meanwhile. */
static void on_linger_timer(struct conn *c) {
    if (sends_on(c) || (output_has_taken(c) && c->held > 0)) output_note_taken(c);
    else conn_doom(c, END_GONE);
}

static void on_due(struct conn *c) {
    int64_t now = conn_worker(c)->now_ms;
    if (owes(c) && output_is_stalled(c)) {
        conn_doom_by(c, END_SLOW, BY_STALL);
        return;
    }
    switch (c->phase) {
    case CONN_HEAD:
        if (now < head_due(c)) break;
        if (c->talk->scanned > 0) conn_refuse(c, 408);
        else conn_doom(c, END_GONE);
        break;
    case CONN_BODY:
        if (now >= body_due(c)) conn_refuse(c, 408);
        break;
    case CONN_WAIT:
        if (conn_feeding(c)) feeding_on_timer(c);
        else on_wait_timer(c);
        break;
    case CONN_LINGER: on_linger_timer(c); break;
    case CONN_MUX: mux_on_timer(c); break;
    case CONN_POLL:
    case CONN_STREAM:
    case CONN_FLUSH: break;
    }
}

void due_on_timer(struct conn *c) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    if (c->phase != CONN_STREAM) {
        on_due(c);
        conn_go_on(c);
    } else if (!give_up(c)) {
        outlet_on_timer(&c->outlet);
    }
}
