/* The app's side of the server; see server.h. */
#include "serve/app/server.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"
#include "serve/app/accounts.h"
#include "serve/app/command.h"
#include "serve/io/conn.h"
#include "serve/app/memory.h"
#include "serve/io/outlet.h"
#include "serve/app/registry.h"
#include "serve/app/sweep.h"
#include "serve/app/watch.h"

#include <signal.h>
#include <unistd.h>

/* ---- Life --------------------------------------------------------------------------- */

static void on_wake(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)ev, (void)events;
    struct server *s = timer->data;
    if (s->events->on_timer) s->events->on_timer(s->context);
}

static void on_sweep(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)ev, (void)events;
    struct server *s = timer->data;
    int64_t now = clock_ms();
    int64_t late = s->swept_ms ? now - s->swept_ms - 1000 : 0;
    s->loop_lag_ms = late > 0 ? (double)late : 0;
    s->swept_ms = now;
    sweep_run(s, now);
}

static void on_before_sleep(struct ev_loop *ev, struct ev_prepare *p, int events) {
    (void)ev, (void)events;
    struct server *s = p->data;
    seq_wake(&s->seq); /* what was published in this turn is surely on its way */
    server_catch_up(s);
}

/* The app's fan gets its frames directly; this is the workers'. */
static void io_on_frame(void *owner, struct message *m) {
    struct worker *w = owner;
    struct frame_post *post = container_of(m, struct frame_post, message);
    mailbox_event_done(&w->loop.mailbox);
    w->turn_events++;
    w->turn_patient += post->frame->patient;
    w->turn_bytes += post->frame->text.n;
    if (w->turn_bytes > TURN_BYTES_MAX) w->loop.enough = true;
    fan_frame(&w->fan, post->frame);
    frame_unref(post->frame);
}

int server_new(struct server **out, struct serve_options *options,
               const struct server_events *events, void *context) {
    struct server *s = mem_new(sizeof *s);
    s->options = *options;
    *options = (struct serve_options){0};
    serve_options_defaults(&s->options);
    s->events = events;
    s->context = context;
    int err = loop_init(&s->loop, s);
    if (err < 0) {
        serve_options_free(&s->options);
        mem_free(s);
        return err;
    }
    pthread_mutex_init(&s->gate, NULL);
    mailbox_init(&s->quiet, s);
    atomic_init(&s->tells, true);
    seq_init(&s->seq, NULL, 0, io_on_frame);
    fan_init(&s->fan, s->seq.epoch, &s->seq.head, NULL, 1);
    ev_timer_init(&s->wake, on_wake, 0, 0);
    s->wake.data = s;
    ev_timer_init(&s->sweep, on_sweep, 1, 1);
    s->sweep.data = s;
    ev_prepare_init(&s->before_sleep, on_before_sleep);
    s->before_sleep.data = s;
    ev_prepare_start(s->loop.ev, &s->before_sleep);
    s->port = s->options.port;
    s->memory_told_ms = -1;
    s->wake_at = -1;
    *out = s;
    return 0;
}

/* None begins to run before all are there, so that a failure finds nothing that moves. */
static int start_threads(struct server *s) {
    unsigned n = 0;
    int err = 0;
    pthread_mutex_lock(&s->gate);
    while (n < s->n_workers && (err = worker_start(&s->workers[n])) == 0) n++;
    s->started = err == 0;
    pthread_mutex_unlock(&s->gate);
    for (unsigned i = 0; err < 0 && i < n; i++) worker_join(&s->workers[i]);
    return err;
}

static int start(struct server *s) {
    unsigned n = s->options.io_threads;
    s->workers = mem_new(n * sizeof *s->workers);
    for (s->n_workers = 0; s->n_workers < n; s->n_workers++) {
        struct worker *w = &s->workers[s->n_workers];
        int err = worker_init(w, s, s->n_workers, &s->port);
        if (err < 0) return err;
        seq_add_target(&s->seq, &w->loop.mailbox);
    }
    if (s->routes) command_configure(s, s->routes, s->fan.policies);
    s->started = s->options.rehearsal;
    return s->options.rehearsal ? 0 : start_threads(s);
}

int server_start(struct server *s) {
    sigset_t before;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    log_start();
    int err = start(s);
    if (err == 0) {
        loop_own(&s->loop);
        if (!s->options.rehearsal) ev_timer_start(s->loop.ev, &s->sweep);
        return 0;
    }
    for (unsigned i = 0; i < s->n_workers; i++) worker_deinit(&s->workers[i]);
    mem_free(s->workers);
    s->workers = NULL;
    s->n_workers = s->seq.n = 0;
    s->port = s->options.port;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    log_stop();
    return err;
}

void server_run(struct server *s) {
    s->running = true;
    loop_own(&s->loop);
    if (s->finished < s->n_workers) loop_run(&s->loop);
    s->running = false;
}

static void on_hooks_late(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)ev, (void)events;
    server_drain(timer->data);
}

/* From here on a script that hangs has not long to live. [any thread] */
static void note_stop(struct server *s) {
    int64_t none = 0;
    atomic_compare_exchange_strong(&s->stop_ms, &none, clock_ms());
}

void server_stop(struct server *s) {
    if (atomic_exchange(&s->stopping_told, true)) return;
    note_stop(s);
    ev_timer_init(&s->hooks, on_hooks_late, STOP_HOOKS_MS / 1000.0, 0);
    s->hooks.data = s;
    ev_timer_start(s->loop.ev, &s->hooks);
    if (s->events->on_stopping) s->events->on_stopping(s->context);
}

void server_drain(struct server *s) {
    ev_timer_stop(s->loop.ev, &s->hooks);
    if (atomic_exchange(&s->stopping, true)) return;
    for (unsigned i = 0; i < s->n_workers; i++)
        worker_post_drain(&s->workers[i], s->options.drain_ms, false);
}

void server_leave(struct server *s) {
    if (s->running) loop_break(&s->loop);
}

static void app_on_finished(void *owner, struct message *m) {
    (void)m;
    struct server *s = owner;
    if (++s->finished < s->n_workers) return;
    if (!s->events->on_drained || !s->events->on_drained(s->context)) server_leave(s);
}

void server_on_finished(struct worker *w) {
    mailbox_post(&w->server->loop.mailbox, &w->finished, app_on_finished);
}

/* Requests nobody will answer and clients nobody will hear of. */
static void drop_tables(struct server *s) {
    for (struct map_node *node; (node = map_next(&s->requests, NULL));) {
        map_remove(&s->requests, node);
        request_unref(container_of(node, struct request, node));
    }
    for (struct map_node *node; (node = map_next(&s->clients, NULL));) {
        struct client *c = container_of(node, struct client, node);
        registry_leave(s, c);
        registry_forget(s, c);
    }
    map_deinit(&s->requests);
    map_deinit(&s->clients);
    map_deinit(&s->topics);
    accounts_free(s);
}

static const struct server_events silence;

void server_free(struct server *s) {
    if (!s) return;
    s->events = &silence; /* from here on nobody listens */
    if (s->started && !s->options.rehearsal) {
        for (unsigned i = 0; i < s->n_workers; i++)
            worker_post_drain(&s->workers[i], -1, false);
        for (unsigned i = 0; i < s->n_workers; i++) worker_join(&s->workers[i]);
    }
    mailbox_drain(&s->loop.mailbox, INT32_MAX);
    for (unsigned i = 0; i < s->n_workers; i++) worker_deinit(&s->workers[i]);
    mailbox_drain(&s->quiet, INT32_MAX);
    mailbox_drain(&s->loop.mailbox, INT32_MAX);
    mailbox_deinit(&s->quiet);
    drop_tables(s);
    watch_set(s, NULL, 0);
    fan_deinit(&s->fan);
    seq_deinit(&s->seq);
    routes_unref(s->routes);
    ev_prepare_stop(s->loop.ev, &s->before_sleep);
    ev_timer_stop(s->loop.ev, &s->wake);
    ev_timer_stop(s->loop.ev, &s->sweep);
    ev_timer_stop(s->loop.ev, &s->hooks);
    loop_deinit(&s->loop);
    if (s->started) log_stop();
    pthread_mutex_destroy(&s->gate);
    mem_free(s->workers);
    serve_options_free(&s->options);
    mem_free(s);
}

void server_wake_at(struct server *s, double at) {
    s->wake_at = at;
    if (s->options.rehearsal) return;
    ev_timer_stop(s->loop.ev, &s->wake);
    if (at < 0) return;
    double after = at - clock_seconds();
    ev_now_update(s->loop.ev);
    ev_timer_set(&s->wake, after > 0 ? after : 0, 0);
    ev_timer_start(s->loop.ev, &s->wake);
}

void server_configure(struct server *s, struct routes *routes,
                      struct policy_set *policies) {
    routes_unref(s->routes);
    s->routes = routes_ref(routes);
    command_configure(s, routes, policies);
}

/* ---- Requests ----------------------------------------------------------------------- */

static void app_on_request(void *owner, struct message *m) {
    struct server *s = owner;
    struct request *r = container_of(m, struct request, to_app);
    queue_took(r->worker);
    int queued = REQUEST_QUEUED;
    r->taken_ms = clock_ms();
    bool taken = atomic_compare_exchange_strong(&r->state, &queued, REQUEST_TAKEN);
    if (!taken || !s->events->on_request) {
        request_unref(r);
        return;
    }
    r->id = ++s->next_request;
    r->node.key = slice_of((const char *)&r->id, sizeof r->id);
    map_add(&s->requests, &r->node); /* takes the message's reference */
    s->events->on_request(s->context, r);
}

void server_post_request(struct server *s, struct request *r) {
    mailbox_post(&s->loop.mailbox, &request_ref(r)->to_app, app_on_request);
}

static void app_on_cancel(void *owner, struct message *m) {
    struct server *s = owner;
    struct request *r = container_of(m, struct request, cancel);
    if (map_get(&s->requests, r->node.key) == &r->node) { /* not answered meanwhile */
        map_remove(&s->requests, &r->node);
        request_unref(r);
        if (s->events->on_cancel) s->events->on_cancel(s->context, r->id);
    }
    request_unref(r);
}

void server_cancel(struct request *r) {
    if (r->cancel_posted) return;
    r->cancel_posted = true;
    mailbox_post(&r->worker->server->loop.mailbox, &request_ref(r)->cancel,
                 app_on_cancel);
}

struct request *server_find_request(struct server *s, uint64_t id) {
    struct map_node *node = map_get(&s->requests, slice_of((const char *)&id, sizeof id));
    return node ? container_of(node, struct request, node) : NULL;
}

/* The table's reference travels with the message. */
static void io_on_reply(void *owner, struct message *m) {
    (void)owner;
    struct request *r = container_of(m, struct request, to_io);
    if (r->conn && !r->conn->doomed) conn_on_reply(r->conn, r);
    else server_on_closed(r->client, END_GONE);
    request_unref(r);
}

static void reply(struct server *s, struct request *r, enum reply_kind kind) {
    map_remove(&s->requests, &r->node);
    r->reply = kind;
    mailbox_post(&r->worker->loop.mailbox, &r->to_io, io_on_reply);
}

void server_answer(struct server *s, struct request *r) {
    reply(s, r, r->answer.n > 0 ? REPLY_ANSWER : REPLY_FILE);
}

int server_accept(struct server *s, struct request *r, struct plan *plan,
                  struct accept_as as, struct client **out) {
    if (r->is_head) { /* the head of the stream, and nobody to write to */
        reply(s, r, REPLY_STREAM);
        return E_CLOSED;
    }
    struct client *c = client_new(r->worker, r->ip, r->path, r->route->id);
    if (as.user) c->user = mem_strndup(as.user, strlen(as.user));
    registry_add(s, c, plan);
    c->told = !atomic_load(&s->tells);
    atomic_store(&c->minded, as.minded);
    r->plan = plan_ref(plan);
    r->client = c; /* takes */
    *out = c;
    reply(s, r, REPLY_STREAM);
    return 0;
}

/* ---- Events ------------------------------------------------------------------------- */

int server_publish(struct server *s, const struct event *event, struct published *out) {
    struct chan *c;
    int err = fan_get(&s->fan, event->channel, &c);
    if (err < 0) return err;
    struct event hashed = *event;
    hashed.channel_hash = c->node.hash; /* for all who look the channel up */
    bool keyless = event->key.n == 0;
    struct frame *f = NULL;
    out->has_id = c->kind != CHANNEL_STATE;
    if (c->policy.key.n > 0 && keyless) err = E_KEY;
    else err = frame_new(&f, &hashed, out->has_id, s->n_workers);
    if (err == 0) err = memory_check(s);
    size_t before = memory_of(c);
    if (err == 0) {
        f->at_ms = clock_ms();
        if (event->ttl_ms > 0) f->expires_ms = f->at_ms + event->ttl_ms;
        f->before = c->bytes;
        f->patient = policy_period(&c->policy) >= PATIENT_LEAST_MS;
        err = seq_publish(&s->seq, f);
    }
    if (err == 0) {
        fan_frame(&s->fan, f);
        memory_changed(s, c, before);
        s->published++;
        s->published_bytes += f->text.n;
        out->seq = f->seq;
        server_catch_up(s);
        out->subscribers = registry_count(s, event->channel, hashed.channel_hash);
    } else {
        fan_release(&s->fan, c);
    }
    if (f) frame_unref(f);
    return err;
}

/* ---- Clients ------------------------------------------------------------------------ */

static struct plan *plan_of_one(const struct sub_spec *spec) {
    return plan_new(&(struct plan_spec){.subs = spec, .n = 1});
}

int server_subscribe(struct server *s, struct client *c, const struct sub_spec *spec,
                     bool *is_new) {
    *is_new = false;
    if (pattern_check_channel(spec->channel)) return E_CHANNEL;
    if (registry_follows(c, spec->channel)) return 0;
    if (c->n_topics >= STREAM_CHANNELS_MAX) return E_FULL;
    struct plan *plan = plan_of_one(spec);
    if (!plan) return E_NOMEM;
    registry_follow(s, c, spec->channel);
    *is_new = true;
    command_client(c, CLIENT_SUBSCRIBE, plan);
    plan_unref(plan);
    return 0;
}

bool server_unsubscribe(struct server *s, struct client *c, struct slice channel,
                        bool denied) {
    if (!registry_unfollow(s, c, channel)) return false;
    struct sub_spec spec = {.channel = channel};
    struct plan *plan = plan_of_one(&spec);
    if (!plan) { /* the stream may not go on with it: end it */
        command_close(c, &(struct good_bye){.reason = END_OVERLOAD});
        return true;
    }
    command_client(c, denied ? CLIENT_DENY : CLIENT_UNSUBSCRIBE, plan);
    plan_unref(plan);
    return true;
}

int server_set(struct client *c, const struct sub_spec *wish) {
    struct plan *plan = plan_of_one(wish);
    if (!plan) return E_NOMEM;
    command_client(c, CLIENT_SET, plan);
    plan_unref(plan);
    return 0;
}

static bool is_full(struct client *c) {
    if (atomic_load(&c->queued) <= STREAM_PRIVATE_BYTES_MAX / 2) return false;
    atomic_store(&c->wants_writable, true);
    /* what waited may be gone by now: then nobody would tell */
    return atomic_load(&c->queued) > STREAM_PRIVATE_BYTES_MAX / 2;
}

static int send_text(struct client *c, struct slice text) {
    if (is_full(c)) return E_FULL;
    atomic_fetch_add(&c->queued, (unsigned)text.n);
    int err = command_send(c, text);
    if (err < 0) atomic_fetch_sub(&c->queued, (unsigned)text.n);
    return err;
}

int server_send(struct client *c, const struct event *event) {
    struct frame *f;
    int err = frame_new(&f, event, false, 0);
    if (err < 0) return err;
    frame_number(f, c->worker->server->seq.epoch, 1); /* it has no id: ends the text */
    err = send_text(c, f->text);
    frame_unref(f);
    return err;
}

int server_close(struct client *c, enum end_reason reason, int status,
                 const struct event *word) {
    struct good_bye bye = {.reason = reason, .status = status};
    struct frame *f = NULL;
    int err = word ? frame_new(&f, word, false, 0) : 0;
    if (err < 0) return err;
    if (f) bye.word = frame_lines(f);
    err = command_close(c, &bye);
    if (f) frame_unref(f);
    return err;
}

/* ---- News of the workers ------------------------------------------------------------ */

static void tell_open(struct server *s, struct client *c) {
    if (c->told) return;
    c->told = true;
    if (atomic_load(&s->tells) && s->events->on_open) s->events->on_open(s->context, c);
}

static void on_opened(struct server *s, struct client *c) {
    if (c->plan) registry_add(s, c, c->plan);
    plan_unref(c->plan);
    c->plan = NULL;
    tell_open(s, c);
}

/* Whether the end of a client is told to whoever listens. */
static bool is_minded(struct server *s, struct client *c) {
    return atomic_load(&s->tells) || atomic_load(&c->minded);
}

/* One that was accepted and left before it began has come and gone all the same. */
static void on_closed(struct server *s, struct client *c) {
    if (!c->registered) return;
    tell_open(s, c);
    registry_leave(s, c);
    if (is_minded(s, c) && s->events->on_close)
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

static void app_on_news(void *owner, struct message *m) {
    struct client *c = container_of(m, struct client, message);
    act_on(owner, c, atomic_exchange(&c->news, 0));
}

/* Out of the quiet box. What somebody is to be told after all goes to the end of the other:
 * the app may be in the middle of anything now. */
static void app_on_quiet(void *owner, struct message *m) {
    struct server *s = owner;
    struct client *c = container_of(m, struct client, message);
    unsigned news = atomic_exchange(&c->news, 0);
    if (!is_minded(s, c) && !(news & CLIENT_WRITABLE)) act_on(s, c, news);
    else if (atomic_fetch_or(&c->news, news) == 0)
        mailbox_post(&s->loop.mailbox, m, app_on_news);
    else client_unref(c); /* there are more news: they take these along */
}

void server_catch_up(struct server *s) {
    if (!atomic_load(&s->any_quiet)) return;
    atomic_store(&s->any_quiet, false); /* first: what comes meanwhile sets it again */
    mailbox_drain(&s->quiet, INT32_MAX);
}

void server_tell_clients(struct server *s, bool wanted) {
    server_catch_up(s);
    atomic_store(&s->tells, wanted);
}

/* News that the app has not taken yet travel together. When some that are urgent join some
 * that were not, the app takes both before it sleeps again. */
static void tell(struct client *c, enum client_news news, bool urgent) {
    struct server *s = c->worker->server;
    bool first = atomic_fetch_or(&c->news, news) == 0;
    if (first && urgent) {
        mailbox_post(&s->loop.mailbox, &client_ref(c)->message, app_on_news);
    } else if (first) {
        mailbox_post(&s->quiet, &client_ref(c)->message, app_on_quiet);
        atomic_store(&s->any_quiet, true);
    } else if (urgent) {
        mailbox_wake(&s->loop.mailbox);
    }
}

/* The app knows already what it accepted itself. */
void server_on_opened(struct client *c, struct plan *plan) {
    if (c->told) return;
    if (!c->registered) c->plan = plan_ref(plan);
    tell(c, CLIENT_OPENED, atomic_load(&c->worker->server->tells));
}

void server_on_closed(struct client *c, enum end_reason reason) {
    if (!c) return;
    c->reason = reason;
    tell(c, CLIENT_CLOSED, is_minded(c->worker->server, c));
}

void server_on_sent(struct client *c) {
    struct outlet *o = c->outlet;
    atomic_fetch_sub(&c->queued, o->unacked);
    o->unacked = 0;
    if (atomic_load_explicit(&c->wants_writable, memory_order_relaxed) &&
        atomic_exchange(&c->wants_writable, false))
        tell(c, CLIENT_WRITABLE, true);
}

/* ---- Signals ------------------------------------------------------------------------ */

struct signal_message {
    struct message message;
    int number;
};

static void app_on_signal(void *owner, struct message *m) {
    struct server *s = owner;
    struct signal_message *signal = container_of(m, struct signal_message, message);
    if (s->events->on_signal) s->events->on_signal(s->context, signal->number);
    mem_free(signal);
}

/* Whoever asks for the end must not wonder what happens: it is said at once, here, since the
 * script may hang. */
static void tell_end(const struct server *s, bool again) {
    unsigned long long n = 0;
    for (unsigned i = 0; i < s->n_workers; i++)
        n += atomic_load_explicit(&s->workers[i].counters.streams, memory_order_relaxed);
    const char *plural = n == 1 ? "" : "s";
    if (again) log_printf(LOG_WARN, "stopping now: %llu stream%s cut off", n, plural);
    else if (n == 0) log_printf(LOG_INFO, "stopping; again to stop now");
    else
        log_printf(LOG_INFO, "draining %llu stream%s, up to %g s; again to stop now", n,
                   plural, (double)s->options.drain_ms / 1000);
}

void server_on_signal(struct server *s, int number) {
    bool ends = number == SIGTERM || number == SIGINT;
    bool again = ends && atomic_exchange(&s->signalled, true);
    if (ends) tell_end(s, again);
    if (again) {
        log_flush();
        _exit(1);
    }
    if (ends) note_stop(s);
    struct signal_message *m = mem_new(sizeof *m);
    m->number = number;
    mailbox_post(&s->loop.mailbox, &m->message, app_on_signal);
}
