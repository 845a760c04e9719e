/* What is noted, and where; see flight.h. */
#include "serve/io/flight.h"

#include "base/log_fields.h"
#include "serve/io/outlet.h"
#include "serve/io/worker.h"
#include "serve/request.h"

void flight_init(struct flight *f) {
    notes_init(&f->visits, FLIGHT_BYTES);
    notes_init(&f->deeds, FLIGHT_BYTES);
    notes_init(&f->requests, FLIGHT_REQUESTS_BYTES);
}

void flight_deinit(struct flight *f) {
    notes_deinit(&f->visits);
    notes_deinit(&f->deeds);
    notes_deinit(&f->requests);
}

/* ---- Fields ------------------------------------------------------------------------- */

static struct slice id_text(char room[EVENTID_TEXT_MAX], const char *epoch,
                            uint64_t seq) {
    return slice_of(room, eventid_text(room, epoch, seq));
}

/* The id that a client brought: "?" when it cannot be read. */
static struct slice came_with(char room[EVENTID_TEXT_MAX], const struct eventid *id) {
    if (id->kind == EVENTID_NONE) return slice_of("", 0);
    return id->kind == EVENTID_GOOD ? id_text(room, id->epoch, id->seq) : slice_str("?");
}

static void add_request(struct log_fields *f, const struct request *r) {
    log_fields_text(f, "path", slice_of(r->path, r->path_n));
    log_fields_text(f, "ip", slice_str(r->ip));
    if (r->trace[0])
        log_fields_text(f, "trace", slice_of(r->trace + TRACE_ID_AT, TRACE_ID_LENGTH));
    if (r->route) log_fields_integer(f, "route", (uint64_t)r->route->id);
}

static void add_limit(struct log_fields *f, const struct request *r) {
    if (!r->limit) return;
    log_fields_text(f, "limit", slice_str(r->limit));
    log_fields_integer(f, "most", r->most);
}

/* ---- Notes -------------------------------------------------------------------------- */

void flight_opened(struct worker *w, const struct request *r, const struct plan *plan,
                   const struct client *c) {
    ASSERT_OWNER(&w->loop);
    struct log_fields f = {.n = 0};
    char came[EVENTID_TEXT_MAX];
    log_fields_text(&f, "client", client_id(c));
    if (client_user(c)) log_fields_text(&f, "user", slice_str(client_user(c)));
    add_request(&f, r);
    log_fields_text(&f, "came", came_with(came, &r->last_id));
    log_fields_integer(&f, "channels", plan->n);
    notes_add(&w->flight.visits, "opened", f.all, f.n);
}

void flight_refused(struct worker *w, const struct request *r, const struct bye *bye) {
    ASSERT_OWNER(&w->loop);
    struct log_fields f = {.n = 0};
    add_request(&f, r);
    const struct end_row *row = reason_end(bye->reason);
    enum end_cause cause = bye->cause ? bye->cause : row->usual;
    log_fields_text(&f, "reason", slice_str(row->word));
    log_fields_text(&f, "cause", slice_str(reason_cause(cause)));
    if (bye->status > 0) log_fields_integer(&f, "status", (uint64_t)bye->status);
    add_limit(&f, r);
    notes_add(&w->flight.deeds, "refused", f.all, f.n);
}

void flight_answered(struct worker *w, const struct request *r, int status,
                     const char *why) {
    ASSERT_OWNER(&w->loop);
    struct log_fields f = {.n = 0};
    log_fields_text(&f, "method", r->method);
    add_request(&f, r);
    log_fields_text(&f, "cause", slice_str("status"));
    log_fields_integer(&f, "status", (uint64_t)status);
    if (why) log_fields_text(&f, "why", slice_str(why));
    if (status == 421) log_fields_text(&f, "host", r->host);
    add_limit(&f, r);
    notes_add(&w->flight.requests, "answered", f.all, f.n);
}

void flight_closed(struct worker *w, const struct in6_addr *address) {
    ASSERT_OWNER(&w->loop);
    if (w->flight.closed_ms > 0 && w->now_ms - w->flight.closed_ms < FLIGHT_CLOSED_MS)
        return;
    w->flight.closed_ms = w->now_ms;
    struct log_fields f = {.n = 0};
    char ip[ADDRESS_TEXT_MAX];
    address_format(address, ip);
    log_fields_text(&f, "ip", slice_str(ip));
    log_fields_text(&f, "cause", slice_str("connections"));
    log_fields_text(&f, "limit", slice_str("max_connections"));
    log_fields_integer(&f, "most", w->hub->options.max_connections);
    notes_add(&w->flight.deeds, "refused", f.all, f.n);
}

/* Where it was: the id that its client brought, or that of an open stream. */
static struct slice place_of(char room[EVENTID_TEXT_MAX], const struct fan *fan,
                             const struct loss *loss) {
    if (loss->came) return came_with(room, loss->came);
    return loss->from > 0 ? id_text(room, fan->epoch, loss->from) : slice_of("", 0);
}

/* What the channel keeps now: a reload may change it before somebody asks. */
static void add_limits(struct log_fields *f, const struct chan *c) {
    if (!c) return;
    log_fields_text(f, "pattern", c->policy->pattern);
    log_fields_integer(f, "history", c->policy->history);
    log_fields_integer(f, "history_bytes", c->policy->history_bytes);
    log_fields_number(f, "ttl", (double)c->policy->ttl_ms / 1000);
}

void flight_lost(const struct outlet *o, const struct loss *loss) {
    if (!o->client) return; /* a page of a feed */
    const struct stream *s = &o->stream;
    const struct fan *fan = s->fan;
    struct worker *w = container_of(fan, struct worker, fan);
    struct log_fields f = {.n = 0};
    char from[EVENTID_TEXT_MAX], oldest[EVENTID_TEXT_MAX], at[EVENTID_TEXT_MAX];
    log_fields_text(&f, "client", client_id(o->client));
    log_fields_text(&f, "channel", loss->channel);
    log_fields_text(&f, "reason", slice_str(reason_reset(loss->reason)->word));
    log_fields_text(&f, "by", slice_str(loss_word(loss->by)));
    log_fields_text(&f, "from", place_of(from, fan, loss));
    if (loss->oldest > 0)
        log_fields_text(&f, "oldest", id_text(oldest, fan->epoch, loss->oldest));
    log_fields_text(&f, "id", id_text(at, fan->epoch, s->cursor));
    add_limits(&f, chans_find(&fan->chans, loss->channel));
    if (loss->by == LOST_BACKLOG) {
        log_fields_integer(&f, "unsent", outlet_unsent(o));
        log_fields_integer(&f, "behind_ms", (uint32_t)fan->now_ms - s->lagging_ms);
    }
    notes_add(&w->flight.deeds, loss->closes ? "lagged" : "reset", f.all, f.n);
}

/* It ended by itself, as far as the server is concerned. */
static bool is_visit(enum end_cause cause) {
    return cause == BY_CLIENT || cause == BY_NETWORK || cause == BY_ABSENCE;
}

void flight_ended(struct worker *w, const struct log_field *fields, size_t n,
                  enum end_cause cause) {
    ASSERT_OWNER(&w->loop);
    struct flight *f = &w->flight;
    notes_add(is_visit(cause) ? &f->visits : &f->deeds, "ended", fields, n);
}
