/* Posting to the app; see to_app.h. */
#include "serve/to_app.h"

#include "base/mem.h"
#include "serve/admission.h"
#include "serve/report.h"

static void post(struct hub *hub, struct message *m, message_fn *deliver) {
    mailbox_post(&hub->app->mailbox, m, deliver);
}

void to_app_request(struct request *r) {
    ASSERT_OWNER(r->lane->loop);
    post(r->lane->hub, &request_ref(r)->to_app, app_on_request);
}

void to_app_cancel(struct request *r) {
    ASSERT_OWNER(r->lane->loop);
    if (r->cancel_posted) return;
    r->cancel_posted = true;
    post(r->lane->hub, &request_ref(r)->cancel, app_on_cancel);
}

void to_app_piece(struct request *r) {
    ASSERT_OWNER(r->lane->loop);
    post(r->lane->hub, &r->upload->given, app_on_piece);
}

/* News that the app has not taken yet travel together. When some that are urgent join some
 * that were not, the app takes both before it sleeps again. */
static void post_news(struct client *c, enum client_news news, bool urgent) {
    struct hub *hub = c->lane->hub;
    bool first = atomic_fetch_or(&c->news, news) == 0;
    if (first && urgent) {
        post(hub, &client_ref(c)->message, app_on_news);
    } else if (first) {
        mailbox_post(&hub->deferred, &client_ref(c)->message, app_on_deferred);
        atomic_store(&hub->any_deferred, true);
    } else if (urgent) {
        mailbox_wake(&hub->app->mailbox);
    }
}

bool to_app_wants_close(const struct hub *hub, const struct client *c) {
    return atomic_load(&hub->news_wanted) || atomic_load(&c->close_wanted);
}

void to_app_opened(struct client *c, struct plan *plan) {
    ASSERT_OWNER(c->lane->loop);
    if (c->announced) return;
    if (!c->registered) {
        c->topics.plan = plan_ref(plan);
        c->has_plan = true;
    }
    post_news(c, CLIENT_OPENED, atomic_load(&c->lane->hub->news_wanted));
}

void to_app_closed(struct client *c, enum end_reason reason) {
    if (!c) return;
    ASSERT_OWNER(c->lane->loop);
    admission_leave(c);
    c->reason = reason;
    post_news(c, CLIENT_CLOSED, to_app_wants_close(c->lane->hub, c));
}

void to_app_sent(struct client *c, uint32_t bytes) {
    ASSERT_OWNER(c->lane->loop);
    atomic_fetch_sub(&c->queued, bytes);
    if (atomic_load_explicit(&c->wants_writable, memory_order_relaxed) &&
        atomic_exchange(&c->wants_writable, false))
        post_news(c, CLIENT_WRITABLE, true);
}

void to_app_report(struct lane *lane, struct report *r) {
    ASSERT_OWNER(lane->loop);
    atomic_store_explicit(&lane->reporting, true, memory_order_relaxed);
    post(lane->hub, &r->message, app_on_report);
}

void to_app_told(struct question *q) {
    ASSERT_OWNER(q->lane->loop);
    post(q->lane->hub, &q->message, app_on_told);
}

void to_app_signal(struct hub *hub, int number) {
    struct signal_message *m = mem_new(sizeof *m);
    m->number = number;
    post(hub, &m->message, app_on_signal);
}

void to_app_finished(struct lane *lane) {
    ASSERT_OWNER(lane->loop);
    post(lane->hub, &lane->finished, app_on_finished);
}
