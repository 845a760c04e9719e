/* Requests that the app is asked, and their answers; see server.h. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"
#include "serve/admission.h"
#include "serve/app/registry.h"
#include "serve/app/server.h"
#include "serve/poll_token.h"
#include "serve/to_io.h"

struct slice server_request_key(const struct map_node *node) {
    const struct request *r = container_of(node, const struct request, node);
    return slice_of((const char *)&r->id, sizeof r->id);
}

/* Whether it waits for its answer. */
static bool is_open(const struct server *s, const struct request *r) {
    return r->id > 0 && server_find_request(s, r->id) == r;
}

void app_on_request(void *owner, struct message *m) {
    struct server *s = owner;
    struct request *r = container_of(m, struct request, to_app);
    queue_took(r->lane);
    int queued = REQUEST_QUEUED;
    r->taken_ms = clock_ms();
    bool taken = atomic_compare_exchange_strong(&r->state, &queued, REQUEST_TAKEN);
    if (!taken || !s->events->on_request) {
        request_unref(r);
        return;
    }
    r->id = ++s->next_request;
    map_add(&s->requests, &r->node); /* takes the message's reference */
    s->events->on_request(s->context, r);
}

void app_on_cancel(void *owner, struct message *m) {
    struct server *s = owner;
    struct request *r = container_of(m, struct request, cancel);
    if (is_open(s, r)) { /* not answered meanwhile */
        map_remove(&s->requests, &r->node);
        request_unref(r);
        if (s->events->on_cancel) s->events->on_cancel(s->context, r->id);
    }
    request_unref(r);
}

/* From the moment on when the app asks again the upload's piece is the I/O thread's. */
void app_on_piece(void *owner, struct message *m) {
    struct server *s = owner;
    struct upload *u = container_of(m, struct upload, given);
    struct request *r = u->request;
    struct piece piece = u->piece;
    buf_init(&u->piece.bytes);
    u->asked = false;
    u->all = piece.last;
    if (is_open(s, r) && s->events->on_piece) /* not answered meanwhile */
        s->events->on_piece(s->context, r->id, &piece);
    buf_free(&piece.bytes);
    request_unref(r);
}

int server_want(struct server *s, uint64_t id) {
    ASSERT_OWNER(&s->loop);
    struct request *r = server_find_request(s, id);
    if (!r) return E_CLOSED;
    if (!r->upload || r->upload->all) return E_NOTFOUND;
    if (r->upload->asked) return E_BUSY;
    r->upload->asked = true;
    to_io_want(r);
    return 0;
}

struct request *server_find_request(const struct server *s, uint64_t id) {
    ASSERT_OWNER(&s->loop);
    struct map_node *node = map_get(&s->requests, slice_of((const char *)&id, sizeof id));
    return node ? container_of(node, struct request, node) : NULL;
}

bool server_keeps_alive(const struct request *r) {
    return r->keep_alive && (!r->upload || r->upload->all || PLANTED(122));
}

static void reply(struct server *s, struct request *r, enum reply_kind kind) {
    map_remove(&s->requests, &r->node);
    to_io_reply(r, kind);
}

void server_answer(struct server *s, struct request *r) {
    ASSERT_OWNER(&s->loop);
    reply(s, r, r->answer.n > 0 ? REPLY_ANSWER : REPLY_FILE);
}

/* Whether the one who asks, as guards and plan have judged this request, is the client that its
 * token names, with the same user and plan. It may have ended. */
static bool polls_again(const struct server *s, const struct request *r,
                        const struct plan *plan, const char *user) {
    struct poll_token t;
    if (!r->held || !poll_token_read(r, &t)) return false;
    struct plan_spec spec = {plan->specs, plan->n, plan->options};
    struct poll_holder holder = {user, r->path, plan_mark(&spec)};
    return poll_token_is_of(&t, &s->hub, &holder);
}

static void let_poll(struct server *s, struct request *r, struct plan *plan) {
    r->again = true;
    r->plan = plan_ref(plan);
    r->client = client_ref(r->held);
    reply(s, r, REPLY_STREAM);
}

int server_claim(struct server *s, struct request *r, struct plan *plan,
                 const char *user) {
    ASSERT_OWNER(&s->loop);
    if (!r->held || !r->held->written || !polls_again(s, r, plan, user))
        return E_NOTFOUND;
    let_poll(s, r, plan);
    return 0;
}

int server_accept(struct server *s, struct request *r, struct plan *plan,
                  struct accept_as as, struct client **out) {
    ASSERT_OWNER(&s->loop);
    if (!request_opens_client(r)) { /* a head alone, or a page of a feed */
        r->plan = plan_ref(plan);
        reply(s, r, REPLY_STREAM);
        return E_CLOSED;
    }
    if (polls_again(s, r, plan, as.user)) {
        *out = client_ref(r->held); /* before the request is another's */
        let_poll(s, r, plan);
        return ACCEPT_AGAIN;
    }
    struct client *c = request_client(r, as.user, as.written);
    c->hidden = as.hidden;
    if (!as.hidden && !admission_take(c, r)) {
        client_unref(c);
        return E_RATE;
    }
    registry_add(s, c, plan);
    c->announced = as.hidden || !atomic_load(&s->hub.news_wanted);
    atomic_store(&c->close_wanted, as.close_wanted);
    r->plan = plan_ref(plan);
    r->client = c; /* takes */
    *out = client_ref(c);
    reply(s, r, REPLY_STREAM);
    return 0;
}
