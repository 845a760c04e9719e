/* What the app has answered; see reply.h. */
#include "serve/io/reply.h"

#include "serve/io/dispatch.h"
#include "serve/io/feeding.h"
#include "serve/io/output.h"
#include "serve/io/worker.h"
#include "serve/to_app.h"

/* How a stream ends in place of the status: browsers never come back after a 5xx or 429,
 * and a late head has said 200. END_NONE: the status itself. */
static enum end_reason refusal(const struct conn *c, const struct request *r) {
    if (r->route->kind != ROUTE_STREAM) return END_NONE;
    if (r->status == 429 || r->status == 503) return END_OVERLOAD;
    if (r->status >= 500) return END_ERROR;
    if (!c->streams) return END_NONE;
    if (r->status == 204) return END_STOP;
    return r->status >= 400 ? END_DENIED : END_ERROR;
}

static void refuse_stream(struct conn *c, struct request *r, enum end_reason reason) {
    dispatch_bye(c, r,
                 &(struct bye){.reason = reason,
                               .cause = BY_ANSWER,
                               .status = c->streams ? r->status : 0,
                               .over_limit = r->status == 429});
    conn_end_request(c);
}

void reply_take(struct conn *c, struct request *r) {
    ASSERT_OWNER(&conn_worker(c)->loop);
    if (c->streams && c->outlet.stream.ending) { /* bye was said while it was late */
        to_app_closed(r->client, END_GONE);
        conn_end_request(c);
        return;
    }
    enum end_reason reason = r->reply == REPLY_STREAM ? END_NONE : refusal(c, r);
    if (r->reply == REPLY_STREAM && r->route->kind == ROUTE_FEED) {
        feeding_begin(c, r, r->plan, r->client);
    } else if (r->is_head && (r->reply == REPLY_STREAM || reason)) {
        dispatch_head(c, r);
        conn_next(c);
    } else if (r->reply == REPLY_STREAM) {
        dispatch_stream(c, r, r->plan, r->client);
    } else if (r->reply == REPLY_FILE) {
        dispatch_file(c, r);
        conn_next(c);
    } else if (reason) {
        refuse_stream(c, r, reason);
    } else {
        int err = output_take(c, r);
        if (r->closes) c->keep_alive = false;
        dispatch_log(c, r, r->status);
        if (err < 0) conn_doom(c, END_OVERLOAD);
        else conn_next(c);
    }
    conn_go_on(c);
}
