/* Open streams: their subscriptions, what they alone are sent, their end, and the news of
 * them from the I/O threads; see server.h. */
#include "base/status.h"
#include "serve/app/registry.h"
#include "serve/app/server.h"
#include "serve/to_io.h"

static struct plan *plan_of_one(const struct sub_spec *spec) {
    return plan_new(&(struct plan_spec){.subs = spec, .n = 1});
}

int server_subscribe(struct server *s, struct client *c, const struct sub_spec *spec,
                     bool *is_new) {
    ASSERT_OWNER(&s->loop);
    *is_new = false;
    if (pattern_check_channel(spec->channel)) return E_CHANNEL;
    if (registry_follows(c, spec->channel)) return 0;
    if (c->n_topics >= STREAM_CHANNELS_MAX) return E_FULL;
    struct plan *plan = plan_of_one(spec);
    if (!plan) return E_NOMEM;
    registry_follow(s, c, spec->channel);
    *is_new = true;
    to_io_client(c, CLIENT_SUBSCRIBE, plan);
    plan_unref(plan);
    return 0;
}

bool server_unsubscribe(struct server *s, struct client *c, struct slice channel,
                        bool denied) {
    ASSERT_OWNER(&s->loop);
    if (!registry_unfollow(s, c, channel)) return false;
    struct sub_spec spec = {.channel = channel};
    struct plan *plan = plan_of_one(&spec);
    if (!plan) { /* the stream may not go on with it: end it */
        to_io_end(c, &(struct bye){.reason = END_OVERLOAD});
        return true;
    }
    to_io_client(c, denied ? CLIENT_DENY : CLIENT_UNSUBSCRIBE, plan);
    plan_unref(plan);
    return true;
}

int server_set(struct client *c, const struct sub_spec *wanted) {
    ASSERT_OWNER(c->lane->hub->app);
    struct plan *plan = plan_of_one(wanted);
    if (!plan) return E_NOMEM;
    to_io_client(c, CLIENT_SET, plan);
    plan_unref(plan);
    return 0;
}

static bool is_full(struct client *c) {
    if (atomic_load(&c->queued) <= STREAM_PRIVATE_BYTES_MAX / 2) return false;
    atomic_store(&c->wants_writable, true);
    /* what waited may be gone by now: then no news would come */
    return atomic_load(&c->queued) > STREAM_PRIVATE_BYTES_MAX / 2;
}

static int send_text(struct client *c, struct slice text) {
    if (is_full(c)) return E_FULL;
    atomic_fetch_add(&c->queued, (unsigned)text.n);
    int err = to_io_send(c, text);
    if (err < 0) atomic_fetch_sub(&c->queued, (unsigned)text.n);
    return err;
}

int server_send(struct client *c, const struct event *event) {
    ASSERT_OWNER(c->lane->hub->app);
    struct frame *f;
    int err = frame_new(&f, event, false, 0);
    if (err < 0) return err;
    frame_number(f, "", 1); /* it has no id: ends the text */
    err = send_text(c, f->text);
    frame_unref(f);
    return err;
}

int server_close(struct client *c, enum end_reason reason, int status,
                 const struct event *word) {
    ASSERT_OWNER(c->lane->hub->app);
    struct bye bye = {.reason = reason, .cause = BY_APP, .status = status};
    struct frame *f = NULL;
    int err = word ? frame_new(&f, word, false, 0) : 0;
    if (err < 0) return err;
    if (f) bye.word = frame_lines(f);
    err = to_io_end(c, &bye);
    if (f) frame_unref(f);
    return err;
}

/* ---- News of the workers ------------------------------------------------------------ */

static void announce(struct server *s, struct client *c) {
    if (c->announced) return;
    c->announced = true;
    if (atomic_load(&s->hub.news_wanted) && s->events->on_open)
        s->events->on_open(s->context, c);
}

static void on_opened(struct server *s, struct client *c) {
    if (c->has_plan) {
        struct plan *plan = c->topics.plan; /* its topics take its place */
        c->has_plan = false;
        registry_add(s, c, plan);
        plan_unref(plan);
    }
    announce(s, c);
}

/* One that was accepted and left before it began has come and gone all the same. */
static void on_closed(struct server *s, struct client *c) {
    if (!c->registered) return;
    announce(s, c);
    registry_leave(s, c);
    if (to_app_wants_close(&s->hub, c) && s->events->on_close)
        s->events->on_close(s->context, c, reason_end(c->reason)->word);
    registry_forget(s, c);
}

static void act_on(struct server *s, struct client *c, unsigned news) {
    if (news & CLIENT_OPENED) on_opened(s, c);
    if ((news & CLIENT_WRITABLE) && s->events->on_writable)
        s->events->on_writable(s->context, c);
    if (news & CLIENT_CLOSED) on_closed(s, c);
    client_unref(c);
}

void app_on_news(void *owner, struct message *m) {
    struct client *c = container_of(m, struct client, message);
    act_on(owner, c, atomic_exchange(&c->news, 0));
}

/* Deferred news. What is to be reported after all goes to the end of the other mailbox:
 * the app may be in the middle of anything now. */
void app_on_deferred(void *owner, struct message *m) {
    struct server *s = owner;
    struct client *c = container_of(m, struct client, message);
    unsigned news = atomic_exchange(&c->news, 0);
    if (!to_app_wants_close(&s->hub, c) && !(news & CLIENT_WRITABLE)) act_on(s, c, news);
    else if (atomic_fetch_or(&c->news, news) == 0)
        mailbox_post(&s->loop.mailbox, m, app_on_news);
    else client_unref(c); /* there are more news: they take these along */
}

void server_catch_up(struct server *s) {
    ASSERT_OWNER(&s->loop);
    if (!atomic_load(&s->hub.any_deferred)) return;
    atomic_store(&s->hub.any_deferred,
                 false); /* first: what comes meanwhile sets it again */
    mailbox_drain(&s->hub.deferred, INT32_MAX);
}

void server_want_news(struct server *s, bool wanted) {
    ASSERT_OWNER(&s->loop);
    server_catch_up(s);
    atomic_store(&s->hub.news_wanted, wanted);
}
