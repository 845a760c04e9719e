/* Posting to the I/O threads; see to_io.h. */
#include "serve/to_io.h"

#include "base/mem.h"
#include "base/status.h"

/* ---- To every thread ---------------------------------------------------------------- */

struct message *to_io_command(const struct io_command *what) {
    struct slice channel = what->channel;
    struct io_command *command = mem_new(sizeof *command + channel.n);
    *command = *what;
    if (what->routes) routes_ref(what->routes);
    if (what->policies) policy_set_ref(what->policies);
    if (what->conversion) conversion_ref(what->conversion);
    if (channel.n > 0) memcpy(command->name, channel.p, channel.n);
    command->channel = slice_of(command->name, channel.n);
    return &command->message;
}

struct message *to_io_all(struct hub *hub, const struct io_command *what) {
    ASSERT_OWNER(hub->app);
    struct message *messages[IO_THREADS_MAX];
    for (unsigned i = 0; i < hub->n_lanes; i++) messages[i] = to_io_command(what);
    return seq_post(&hub->seq, messages, io_on_command);
}

/* ---- To one thread ------------------------------------------------------------------ */

static void post(struct lane *lane, struct message *m, message_fn *deliver) {
    mailbox_post(&lane->loop->mailbox, m, deliver);
}

void to_io_reply(struct request *r, enum reply_kind kind) {
    ASSERT_OWNER(r->lane->hub->app);
    r->reply = kind;
    post(r->lane, &r->to_io, io_on_reply);
}

void to_io_want(struct request *r) {
    ASSERT_OWNER(r->lane->hub->app);
    post(r->lane, &request_ref(r)->upload->want, io_on_want);
}

void to_io_room(struct lane *lane) {
    ASSERT_OWNER(lane->hub->app);
    post(lane, &lane->queue.room, io_on_room);
}

/* NULL when there is no memory for a text. */
static struct client_message *new_message(struct client *c, enum client_op op,
                                          struct slice words) {
    size_t size = sizeof(struct client_message) + words.n;
    struct client_message *m = words.n > 0 ? mem_try(size) : mem_new(size);
    if (!m) return NULL;
    memset(m, 0, sizeof *m);
    m->op = op;
    m->client = client_ref(c);
    if (words.n > 0) memcpy(m->text, words.p, words.n);
    m->words = slice_of(m->text, words.n);
    return m;
}

void to_io_client(struct client *c, enum client_op op, struct plan *plan) {
    ASSERT_OWNER(c->lane->hub->app);
    struct client_message *m = new_message(c, op, slice_of(NULL, 0));
    m->plan = plan_ref(plan);
    post(c->lane, &m->message, io_on_client);
}

int to_io_send(struct client *c, struct slice text) {
    ASSERT_OWNER(c->lane->hub->app);
    struct client_message *m = new_message(c, CLIENT_SEND, text);
    if (!m) return E_NOMEM;
    post(c->lane, &m->message, io_on_client);
    return 0;
}

int to_io_end(struct client *c, const struct bye *bye) {
    ASSERT_OWNER(c->lane->hub->app);
    struct client_message *m = new_message(c, CLIENT_END, bye->word);
    if (!m) return E_NOMEM;
    m->bye = *bye;
    m->bye.word = m->words;
    post(c->lane, &m->message, io_on_client);
    return 0;
}

void to_io_question(struct question *q) {
    ASSERT_OWNER(q->lane->hub->app);
    post(q->lane, &q->message, io_on_question);
}

void to_io_drain(struct lane *lane, int64_t window_ms, bool stuck) {
    struct drain_message *m = mem_new(sizeof *m);
    m->window_ms = window_ms;
    m->stuck = stuck;
    post(lane, &m->message, io_on_drain);
}

void to_io_drain_all(struct hub *hub, int64_t window_ms, bool stuck) {
    for (unsigned i = 0; i < hub->n_lanes; i++)
        to_io_drain(hub->lanes[i], window_ms, stuck);
}
