/* Routing on the I/O thread; see dispatch.h. */
#include "serve/io/dispatch.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/planted.h"
#include "base/rand.h"
#include "base/status.h"
#include "net/url.h"
#include "serve/admission.h"
#include "serve/client.h"
#include "serve/cluster.h"
#include "serve/io/feeding.h"
#include "serve/io/flight.h"
#include "serve/io/follow.h"
#include "serve/io/load.h"
#include "serve/io/narrow.h"
#include "serve/io/outlet.h"
#include "serve/io/output.h"
#include "serve/io/poll.h"
#include "serve/io/redirect.h"
#include "serve/io/worker.h"
#include "serve/to_app.h"

#include <inttypes.h>
#include <stdio.h>

static const char METRICS[] = "/-/metrics";

static struct slice path_of(const struct request *r) {
    return slice_of(r->path, r->path_n);
}

static struct http_to to_of(struct conn *c, const struct request *r) {
    struct http_to to = request_to(r, &conn_worker(c)->date, conn_worker(c)->wall_s);
    to.keep_alive = c->keep_alive;
    return to;
}

static void log_request(struct conn *c, const struct request *r, int status,
                        const char *reason) {
    int64_t ms = conn_worker(c)->now_ms - c->talk->since_ms;
    struct lane_counters *counters = &conn_worker(c)->lane.counters;
    if (status >= 100 && status < 100 * ANSWERS)
        atomic_fetch_add_explicit(&counters->answered[status / 100], 1,
                                  memory_order_relaxed);
    histogram_add(&counters->answers, histogram_us, ms > 0 ? 1000 * (uint64_t)ms : 0, 1);
    if (!log_wants(LOG_INFO)) return;
    struct log_field fields[7] = {
        {.name = "method", .text = r->method.p, .text_n = r->method.n},
        {.name = "path",
         .text = r->path_n ? r->path : "?",
         .text_n = r->path_n ? r->path_n : 1},
        {.name = "status", .number = status},
        {.name = "ip", .text = r->ip},
        {.name = "ms", .number = (double)ms}};
    size_t n = 5;
    if (r->trace[0])
        fields[n++] = (struct log_field){
            .name = "trace", .text = r->trace + TRACE_ID_AT, .text_n = TRACE_ID_LENGTH};
    if (reason) fields[n++] = (struct log_field){.name = "reason", .text = reason};
    log_write(LOG_INFO, "request", fields, n);
}

void dispatch_log(struct conn *c, const struct request *r, int status) {
    log_request(c, r, status, NULL);
}

void dispatch_bye(struct conn *c, struct request *r, const struct bye *bye) {
    flight_refused(conn_worker(c), r, bye);
    if (r->polls) poll_refuse(c, r, bye);
    else outlet_refuse(c, r, bye);
    log_request(c, r, 200, reason_end(bye->reason)->word);
}

/* ---- Checks before the body --------------------------------------------------------- */

static bool is_safe(struct slice method) {
    return slice_eq_lit(method, "GET") || slice_eq_lit(method, "HEAD") ||
           slice_eq_lit(method, "OPTIONS");
}

static struct slice field(const struct request *r, const char *lower) {
    return http_field_value(request_fields(r), lower);
}

/* Header first: a URL that the page wrote stays old while the header moves on. What is empty says
 * nothing: some clients send the header before they have an id. */
static struct eventid find_last_id(const struct request *r) {
    static const char *const names[] = {"lastEventId", "last_event_id", "Last-Event-ID"};
    struct slice id = field(r, "last-event-id");
    char text[LAST_EVENT_ID_MAX];
    for (size_t i = 0; id.n == 0 && i < sizeof names / sizeof *names; i++) {
        int n = url_query_get(r->query, names[i], text, sizeof text);
        if (n >= 0) id = slice_of(text, (size_t)n);
        else if (n != -404) id = slice_str("?");
    }
    return eventid_parse(id);
}

static int check_stream(struct request *r) {
    if (!request_find_form(r)) return 406;
    if (!request_find_names(r)) return 422;
    r->last_id = find_last_id(r);
    return r->last_id.kind == EVENTID_STOP ? 204 : 0;
}

static int check_route(struct request *r) {
    struct route_match match;
    routes_find(r->routes, r->method, path_of(r), &match);
    if (!match.route) return match.allow[0] ? 405 : 404;
    r->route = match.route;
    r->file = match.file;
    r->n_params = match.n;
    memcpy(r->params, match.captures, sizeof r->params);
    return r->route->kind == ROUTE_STREAM ? check_stream(r) : 0;
}

static bool is_foreign(const struct request *r) {
    return !is_safe(r->method) &&
           origin_is_foreign(routes_cors(r->routes, path_of(r)), r->host,
                             request_fields(r), r->secure);
}

static bool is_admin(const struct request *r) {
    return r->path_n >= 3 && memcmp(r->path, "/-/", 3) == 0;
}

/* In constant time: how long it takes says nothing about the key. */
static bool same_key(struct slice given, const char *key) {
    size_t n = strlen(key);
    unsigned char differs = given.n != n;
    for (size_t i = 0; i < given.n; i++)
        differs |= (unsigned char)(given.p[i] ^ key[i < n ? i : 0]);
    return !differs;
}

/* Somebody guesses, or a scraper was not told of a new key. */
static void note_guess(const struct conn *c, const struct request *r) {
    struct worker *w = conn_worker(c);
    w->guesses++;
    if (w->guessed_ms > 0 && w->now_ms - w->guessed_ms < GUESS_TELL_MS) return;
    struct log_field fields[] = {
        {.name = "address", .text = r->ip},
        {.name = "path", .text = r->path, .text_n = r->path_n},
        {.name = "times", .integer = w->guesses, .is_integer = true}};
    log_write(LOG_WARN, "a wrong admin key was refused", fields, 3);
    w->guessed_ms = w->now_ms;
    w->guesses = 0;
}

/* "/-/" is for the operator: over the Unix socket, or with the admin key. That a request
 * comes from this machine proves nothing: so does everything behind a local proxy. */
static int check_admin(const struct conn *c, const struct request *r) {
    const char *key = conn_worker(c)->hub->options.admin_key;
    struct slice given = field(r, "x-admin-key");
    if (c->trusted || c->scraper) return 0;
    if (!key) return 403;
    if (!given.p) given = http_credentials(field(r, "authorization"), "bearer");
    if (given.p && same_key(given, key)) return 0;
    if (given.p) note_guess(c, r);
    return 401;
}

/* The files of the console, which are the same on every server, are open: what they ask is not. */
static bool is_console(const struct request *r) {
    static const char CONSOLE[] = "/-/console";
    size_t n = sizeof CONSOLE - 1;
    if (r->path_n < n || memcmp(r->path, CONSOLE, n) != 0) return false;
    struct route_match match;
    routes_find(r->routes, r->method, path_of(r), &match);
    return match.route && match.route->kind == ROUTE_STATIC &&
           slice_eq(slice_str(match.route->pattern), path_of(r));
}

/* Not from the moment on when the stop hooks begin. */
static bool is_stopping(const struct worker *w) {
    return w->draining || atomic_load(&w->hub->stopping);
}

static bool is_ready(const struct worker *w) {
    struct load load = load_of(w->hub);
    return load_takes_more(w->hub, &load);
}

static bool is_load(const struct request *r) {
    return slice_eq_lit(path_of(r), "/-/load");
}

/* Over the port for metrics these are "/metrics", too, and nothing else of "/-/" or of the app is
 * there. False: not found. */
static bool is_for_scrapers(struct request *r) {
    if (slice_eq_lit(path_of(r), "/metrics")) {
        mem_free(r->path);
        r->path = mem_strndup(METRICS, sizeof METRICS - 1);
        r->path_n = sizeof METRICS - 1;
    }
    return slice_eq(path_of(r), slice_of(METRICS, sizeof METRICS - 1)) || is_load(r);
}

/* A stream is answered later, with a bye. */
static int check_rate(const struct conn *c, struct request *r) {
    if (admission_ask(r, conn_worker(c)->now_ms)) return 0;
    return r->route->kind == ROUTE_STREAM ? 0 : 429;
}

int dispatch_check(struct conn *c, struct request *r) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    const struct serve_options *o = &conn_worker(c)->hub->options;
    int status;
    if (r->host.p && !c->trusted && !origin_host_allowed(r->host, o->hosts, o->n_hosts))
        return 421;
    if (o->trust_proxy) request_take_forwarded(r);
    if (http_field_repeated(request_fields(r))) return 400;
    if (slice_eq_lit(r->method, "OPTIONS")) return 204;
    if (url_query_check(r->query) < 0) return 400;
    if (slice_eq_lit(path_of(r), "/-/healthz")) return 200;
    if (slice_eq_lit(path_of(r), "/-/readyz"))
        return is_ready(conn_worker(c)) ? 200 : 503;
    if (redirect_wanted(c)) return r->host.n > 0 ? 308 : 400;
    if (c->scraper && !is_for_scrapers(r)) return 404;
    if (is_admin(r) && !is_console(r) && (status = check_admin(c, r)) > 0) return status;
    if (is_load(r)) return 200;
    status = check_route(r); /* known now, so that a body in pieces is refused at once */
    if (is_foreign(r)) return 403;
    if (!http_field_only_token(request_fields(r), "content-encoding", "identity"))
        return 415;
    if (status == 0 && !is_admin(r)) status = check_rate(c, r);
    return status;
}

/* ---- Refusals and small answers ----------------------------------------------------- */

static int answer_options(struct conn *c, struct request *r, const struct http_to *to) {
    struct route_match match;
    routes_find(r->routes, r->method, path_of(r), &match);
    struct http_field allow = {slice_str("Allow"), slice_str(match.allow)};
    return http_write_answer(&c->talk->out, to, 204,
                             (struct http_fields){&allow, match.allow[0] != 0},
                             slice_of("", 0));
}

static int answer_method(struct conn *c, struct request *r, const struct http_to *to) {
    struct route_match match;
    routes_find(r->routes, r->method, path_of(r), &match);
    struct http_field allow = {slice_str("Allow"), slice_str(match.allow)};
    return http_write_error(&c->talk->out, to, &(struct http_error){.status = 405},
                            (struct http_fields){&allow, 1});
}

static const char *explain_unready(const struct worker *w) {
    const struct cluster *cluster = w->hub->cluster;
    if (is_stopping(w)) return "the server stops";
    switch (cluster ? cluster_lacks(cluster) : CLUSTER_LACKS_NOTHING) {
    case CLUSTER_LACKS_REDIS:
        return "Redis is away from this node: its log and /-/cluster say why";
    case CLUSTER_LACKS_WRITES:
        return "Redis takes no writes: the log and /-/cluster say why";
    case CLUSTER_LACKS_NOTHING: break;
    }
    return "a limit is near: see /-/load";
}

static const char *explain(const struct conn *c, const struct request *r, int status) {
    if (status == 401)
        return "the admin key is needed: Authorization: Bearer KEY, or the Unix socket";
    if (status == 403 && is_admin(r) && !conn_worker(c)->hub->options.admin_key)
        return "this server has no admin key: use its Unix socket";
    if (status == 400 && http_field_repeated(request_fields(r)))
        return "a header field that has one value comes twice";
    if (status == 400 && r->host.n == 0 && redirect_wanted(c))
        return "this port leads to the one of HTTPS only: send a Host, or use that one";
    switch (status) {
    case 403: return "a page of another site may not send this request: see app:cors()";
    case 406:
        return "this is an event stream: accept text/event-stream, or application/json "
               "for a poll";
    case 415: return "a body may have no content-encoding but identity";
    case 422: return "0 (all events come without a name) or 1 is expected";
    case 421: return "this name is not in --allow-host";
    case 429:
        return r->has_no_place ? "this address has too many streams"
                               : "this address sends too many requests";
    case 503:
        if (!slice_eq_lit(path_of(r), "/-/readyz"))
            return "the application is busy: nothing was done, try again";
        return explain_unready(conn_worker(c));
    default: return NULL;
    }
}

/* The status says whether this server serves; that its disk does not is told beside: channels
 * in memory and open streams go on, which a new start would only end. */
static struct slice health(const struct conn *c) {
    bool trouble =
        atomic_load_explicit(&conn_worker(c)->hub->trouble, memory_order_relaxed);
    return slice_str(trouble ? "ok\nstore: trouble\n" : "ok\n");
}

static int answer_load(struct conn *c, struct request *r, const struct http_to *to) {
    struct hub *hub = conn_worker(c)->hub;
    struct load load = load_of(hub);
    bool ready = load_takes_more(hub, &load);
    bool as_weight = slice_eq_lit(r->query, "weight");
    struct http_field type = {
        slice_str("Content-Type"),
        slice_str(as_weight ? "text/plain; charset=utf-8" : "application/json")};
    struct buf text = {0};
    int err = load_write(&text, &load, ready, as_weight);
    if (err == 0)
        err = http_write_answer(&c->talk->out, to, 200, (struct http_fields){&type, 1},
                                buf_slice(&text));
    buf_free(&text);
    return err;
}

/* Any other status, with the field that says what to do about it. */
static uint64_t body_max(const struct conn *c, const struct request *r) {
    return request_in_pieces(r) ? r->route->body_max
                                : conn_worker(c)->hub->options.max_body;
}

/* The same words as lua/sluice/requests/pieces.lua has. */
static const char *larger_than(uint64_t most, char room[64]) {
    snprintf(room, 64, "the body is larger than %" PRIu64 " bytes", most);
    return room;
}

static int answer_error(struct conn *c, struct request *r, const struct http_to *to,
                        int status) {
    char seconds[12];
    snprintf(seconds, sizeof seconds, "%u", r->wait_s);
    struct http_field field = {slice_str("Accept-Encoding"), slice_str("identity")};
    if (status == 429)
        field = (struct http_field){slice_str("Retry-After"), slice_str(seconds)};
    struct http_fields fields = {&field, status == 415 || status == 429};
    struct http_error e = {.status = status, .message = explain(c, r, status)};
    char larger[64];
    if (status == 413 && !e.message) e.message = larger_than(body_max(c, r), larger);
    if (status == 422)
        e.field = "named"; /* the rest of a query is judged with the plan */
    return http_write_error(&c->talk->out, to, &e, fields);
}

/* A balancer that asks a server which is not ready is refused nothing. */
static void note_refusal(struct conn *c, const struct request *r, int status,
                         const char *why) {
    if (status < 400 || slice_eq_lit(path_of(r), "/-/readyz")) return;
    flight_answered(conn_worker(c), r, status, why);
}

void dispatch_refuse(struct conn *c, struct request *r, int status) {
    struct http_to to = to_of(c, r);
    struct http_fields none = {0};
    int err;
    if (status == 204 && slice_eq_lit(r->method, "OPTIONS"))
        err = answer_options(c, r, &to);
    else if (status == 204)
        err = http_write_answer(&c->talk->out, &to, 204, none, slice_of("", 0));
    else if (status == 200 && is_load(r)) err = answer_load(c, r, &to);
    else if (status == 200)
        err = http_write_answer(&c->talk->out, &to, 200, none, health(c));
    else if (status == 405) err = answer_method(c, r, &to);
    else if (status == 308) err = redirect_answer(c, r, &to);
    else err = answer_error(c, r, &to, status);
    if (err < 0) conn_doom(c, END_OVERLOAD);
    if (status != 200) dispatch_log(c, r, status);
    note_refusal(c, r, status, explain(c, r, status));
}

/* The same words as lua/sluice/app/plan.lua has for plans that are functions. */
static void refuse_query(struct conn *c, struct request *r, int status,
                         const struct narrow_fault *fault) {
    struct http_to to = to_of(c, r);
    char message[160];
    snprintf(message, sizeof message, "%s%s%s", fault->field ? fault->field : "",
             fault->field ? ": " : "", fault->message);
    struct http_error e = {.status = status, .message = message, .field = fault->field};
    if (http_write_error(&c->talk->out, &to, &e, (struct http_fields){0}) < 0)
        conn_doom(c, END_OVERLOAD);
    dispatch_log(c, r, status);
    note_refusal(c, r, status, message);
}

void dispatch_head(struct conn *c, struct request *r) {
    c->keep_alive = c->keep_alive && r->minor > 0;
    struct http_to to = to_of(c, r);
    struct http_field fields[2];
    size_t n = request_form_fields(r, request_form(r), fields);
    struct http_fields all = {fields, n};
    int err = r->polls ? poll_head(c, r) : http_write_stream(&c->talk->out, &to, all);
    if (err < 0) conn_doom(c, END_OVERLOAD);
    dispatch_log(c, r, 200);
}

void dispatch_overload(struct conn *c, struct request *r) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    if (!request_streams(r)) {
        c->keep_alive = false;
        if (r->route->kind == ROUTE_STREAM) dispatch_head(c, r);
        else dispatch_refuse(c, r, 503);
        conn_next(c);
        return;
    }
    struct bye bye = {.reason = END_OVERLOAD, .cause = BY_QUEUE};
    if (conn_worker(c)->draining) bye = (struct bye){.reason = END_DRAIN};
    dispatch_bye(c, r, &bye);
    conn_end_request(c);
}

/* It is over a limit of its address: bye in place of hello, or a status where that is
 * understood. True when it was refused with an answer. */
static bool refuse_over(struct conn *c, struct request *r) {
    uint64_t *random = &conn_worker(c)->random;
    if (r->wait_s == 0)
        r->wait_s = rand_between(random, RETRY_LIMIT_MIN_MS, RETRY_LIMIT_MAX_MS) / 1000;
    if (request_streams(r)) {
        dispatch_bye(
            c, r,
            &(struct bye){.reason = END_OVERLOAD, .cause = BY_LIMIT, .over_limit = true});
        conn_end_request(c);
        return false;
    }
    if (r->route->kind == ROUTE_STREAM) dispatch_head(c, r);
    else dispatch_refuse(c, r, 429);
    return true;
}

/* ---- Answers ------------------------------------------------------------------------ */

void dispatch_file(struct conn *c, struct request *r) {
    struct http_to to = to_of(c, r);
    struct slice tag = slice_str(r->file->etag);
    struct http_field fields[] = {
        {slice_str("Content-Type"), r->file->type},
        {slice_str("ETag"), tag},
        {slice_str("Cache-Control"), slice_str("no-cache")},
        {slice_str("X-Content-Type-Options"), slice_str("nosniff")}};
    if (!http_match(request_fields(r), tag)) {
        dispatch_refuse(c, r, 412);
        return;
    }
    bool same = http_none_match(request_fields(r), tag);
    int status = same ? 304 : 200;
    int err = http_write_head(&c->talk->out, &to, status, (struct http_fields){fields, 4},
                              r->file->body.n);
    if (err < 0) conn_doom(c, END_OVERLOAD);
    else if (!same && !r->is_head) output_share(c, r->file);
    dispatch_log(c, r, status);
}

/* A plain stream has no reset: that something is missing is said by the status. */
static void refuse_trimmed(struct conn *c, struct request *r, int why) {
    if (c->streams) {
        outlet_break(c);
        log_request(c, r, 200, reason_end(END_SLOW)->word);
        conn_end_request(c);
        return;
    }
    int status = why == E_TRIMMED ? 410 : 500;
    struct bye bye = {.reason = END_SLOW, .cause = BY_LOSS, .status = status};
    flight_refused(conn_worker(c), r, &bye);
    dispatch_log(c, r, status);
    if (output_answer(c, status, NULL, status_text(why)) == 0) conn_next(c);
}

/* The plan took its time, and its user is no longer who they said: bye in place of hello. */
static void refuse_expired(struct conn *c, struct request *r, struct client *client) {
    if (!r->again) to_app_closed(client, END_EXPIRED);
    dispatch_bye(c, r, &(struct bye){.reason = END_EXPIRED});
    conn_end_request(c);
}

void dispatch_stream(struct conn *c, struct request *r, struct plan *plan,
                     struct client *client) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    const struct worker *w = conn_worker(c);
    double expires = plan->options.expires;
    if (expires != 0 && expires <= clock_wall()) {
        refuse_expired(c, r, client);
        return;
    }
    int err = r->polls     ? poll_take(c, r, plan, client)
              : c->streams ? outlet_plan(&c->outlet, r, plan, client)
                           : outlet_open(c, r, plan, client);
    if (err < 0) {
        to_app_closed(client, err == E_TRIMMED ? END_SLOW : END_OVERLOAD);
        if (err == E_TRIMMED || err == E_INVAL) refuse_trimmed(c, r, err);
        else dispatch_overload(c, r);
        return;
    }
    if (!c->streams) { /* a poll: it is logged with its answer */
        conn_end_request(c);
        return;
    }
    dispatch_log(c, r, 200);
    if (w->draining) outlet_drain(&c->outlet, worker_stops_ms(w) - w->now_ms);
    conn_end_request(c);
}

/* Takes the plan when it is. */
static bool is_parked(struct conn *c, struct request *r, struct plan *plan) {
    bool waits = follow_waits(conn_worker(c), r, plan);
    if (waits) plan_unref(plan);
    return waits;
}

/* What the one channel of a feed makes of the path. */
static bool open_feed(struct conn *c, struct request *r) {
    struct plan *plan = NULL;
    struct narrow_fault fault = {0};
    int status = narrow_plan(r, &plan, &fault);
    if (status > 0) {
        refuse_query(c, r, status, &fault);
        return true;
    }
    if (is_parked(c, r, plan)) return false;
    struct client *client = NULL;
    if (request_opens_client(r)) client = request_client(r, NULL, false);
    bool may = !client || admission_take(client, r);
    bool answered = may ? feeding_begin(c, r, plan, client) : refuse_over(c, r);
    client_unref(client);
    plan_unref(plan);
    return answered;
}

/* A constant plan: no Lua is asked. True when it was refused with an answer. */
static bool open_static(struct conn *c, struct request *r) {
    struct plan *plan = NULL;
    struct narrow_fault fault;
    int status = narrow_plan(r, &plan, &fault);
    if (status > 0) {
        if (status == 422 || status == 404) refuse_query(c, r, status, &fault);
        else dispatch_refuse(c, r, status);
        return true;
    }
    if (r->is_head) {
        plan_unref(plan);
        dispatch_head(c, r);
        return true;
    }
    if (is_parked(c, r, plan)) return false;
    struct client *client = poll_client(c, r, plan);
    bool may = r->again || admission_take(client, r), answered = false;
    if (may) dispatch_stream(c, r, plan, client);
    else answered = refuse_over(c, r);
    client_unref(client);
    plan_unref(plan);
    return answered;
}

/* Not a poll of a client that has one: whether it is that one is known later. */
static bool wants_place(const struct request *r) {
    bool streams = r->route->kind == ROUTE_STREAM || r->route->kind == ROUTE_FEED;
    return streams && !r->is_head && !is_admin(r) && (!r->held || PLANTED(507));
}

bool dispatch_plan(struct conn *c, struct request *r) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    return r->route->kind == ROUTE_FEED ? open_feed(c, r) : open_static(c, r);
}

bool dispatch(struct conn *c, struct request *r) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    if (r->wait_s > 0) return refuse_over(c, r);
    if (r->route->kind == ROUTE_STATIC && r->route->id == 0) {
        dispatch_file(c, r);
        return true;
    }
    if (r->polls && !r->is_head && poll_lead(c, r)) return false;
    if (wants_place(r) && !admission_enter(r)) return refuse_over(c, r);
    if (r->route->plan) return dispatch_plan(c, r);
    queue_add(&conn_worker(c)->lane, r);
    return false;
}
