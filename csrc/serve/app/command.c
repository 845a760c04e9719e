/* Commands as messages; see command.h. */
#include "serve/app/command.h"

#include "base/mem.h"
#include "base/status.h"
#include "serve/app/accounts.h"
#include "serve/app/memory.h"
#include "serve/io/outlet.h"

/* ---- To every worker ---------------------------------------------------------------- */

enum kind { TRIM, DROP, CONFIGURE };

struct command {
    struct message message;
    enum kind kind;
    uint64_t seq;
    struct routes *routes;
    struct policy_set *policies;
    struct slice channel;
    char name[];
};

static void configure(struct worker *w, struct command *command) {
    routes_unref(w->routes);
    w->routes = routes_ref(command->routes);
    fan_policies(&w->fan, command->policies);
}

static void io_on_command(void *owner, struct message *m) {
    struct worker *w = owner;
    struct command *command = container_of(m, struct command, message);
    if (command->kind == TRIM) fan_trim(&w->fan, command->channel, command->seq);
    else if (command->kind == DROP) fan_drop(&w->fan, command->channel);
    else configure(w, command);
    routes_unref(command->routes);
    policy_set_unref(command->policies);
    mem_free(command);
}

/* A copy of the command for each of them. */
static void post_all(struct server *s, const struct command *what) {
    struct slice channel = what->channel;
    struct message *messages[IO_THREADS_MAX];
    for (unsigned i = 0; i < s->n_workers; i++) {
        struct command *command = mem_new(sizeof *command + channel.n);
        *command = *what;
        if (what->routes) routes_ref(what->routes);
        if (what->policies) policy_set_ref(what->policies);
        if (channel.n > 0) memcpy(command->name, channel.p, channel.n);
        command->channel = slice_of(command->name, channel.n);
        messages[i] = &command->message;
    }
    seq_post(&s->seq, messages, io_on_command);
}

void command_trim(struct server *s, struct slice channel, uint64_t seq) {
    post_all(s, &(struct command){.kind = TRIM, .channel = channel, .seq = seq});
    struct chan *c = fan_find(&s->fan, channel);
    size_t before = c ? memory_of(c) : 0;
    fan_trim(&s->fan, channel, seq);
    if (c) memory_changed(s, c, before);
}

void command_drop(struct server *s, struct slice channel) {
    char name[CHANNEL_NAME_MAX]; /* the slice may be the channel's own */
    memcpy(name, channel.p, channel.n);
    post_all(s, &(struct command){.kind = DROP, .channel = channel});
    struct chan *c = fan_find(&s->fan, channel);
    if (c) s->held -= memory_of(c); /* nothing is left of it */
    fan_drop(&s->fan, channel);
    accounts_release(s, slice_of(name, channel.n));
}

void command_configure(struct server *s, struct routes *routes,
                       struct policy_set *policies) {
    post_all(
        s, &(struct command){.kind = CONFIGURE, .routes = routes, .policies = policies});
    fan_policies(&s->fan, policies);
    memory_recount(s);
}

/* ---- To one client's worker --------------------------------------------------------- */

enum op { OP_CLIENT, OP_SEND, OP_CLOSE };

struct client_message {
    struct message message;
    enum op op;
    enum client_command kind;
    struct client *client;
    struct plan *plan;
    struct slice words; /* the text of an event; or what is said before a bye */
    enum end_reason reason;
    int status;
    char text[];
};

static void deny(struct stream *stream, struct slice channel) {
    if (!stream_unsubscribe(stream, channel)) return;
    stream_reset(stream, channel, RESET_DENIED, stream->cursor, 0);
    if (stream->n_subs == 0) stream_bye(stream, END_REVOKED);
    fan_wake(stream->fan, stream);
}

static void apply(struct stream *stream, const struct client_message *m) {
    const struct sub_spec *spec = &m->plan->specs[0];
    int err = 0;
    if (m->kind == CLIENT_SUBSCRIBE) err = stream_subscribe(stream, spec);
    else if (m->kind == CLIENT_UNSUBSCRIBE) stream_unsubscribe(stream, spec->channel);
    else if (m->kind == CLIENT_DENY) deny(stream, spec->channel);
    else err = stream_set(stream, spec);
    if (err < 0 && err != E_CLOSED) stream_bye(stream, END_OVERLOAD);
}

static void io_on_client(void *owner, struct message *message) {
    (void)owner;
    struct client_message *m = container_of(message, struct client_message, message);
    struct outlet *o = m->client->outlet;
    if (m->op == OP_SEND) {
        if (o) o->unacked += (uint32_t)m->words.n;
        if (o && stream_send(&o->stream, m->words) == E_NOMEM)
            stream_bye(&o->stream, END_OVERLOAD);
    } else if (o && m->op == OP_CLIENT) {
        apply(&o->stream, m);
    } else if (o) {
        struct good_bye bye = {
            .reason = m->reason, .status = m->status, .word = m->words};
        stream_end(&o->stream, &bye);
    }
    plan_unref(m->plan);
    client_unref(m->client);
    mem_free(m);
}

/* NULL when there is no memory for a text. */
static struct client_message *new_message(struct client *c, enum op op,
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

static void post(struct client_message *m) {
    mailbox_post(&m->client->worker->loop.mailbox, &m->message, io_on_client);
}

void command_client(struct client *c, enum client_command kind, struct plan *plan) {
    struct client_message *m = new_message(c, OP_CLIENT, slice_of(NULL, 0));
    m->kind = kind;
    m->plan = plan_ref(plan);
    post(m);
}

int command_send(struct client *c, struct slice text) {
    struct client_message *m = new_message(c, OP_SEND, text);
    if (!m) return E_NOMEM;
    post(m);
    return 0;
}

int command_close(struct client *c, const struct good_bye *bye) {
    struct client_message *m = new_message(c, OP_CLOSE, bye->word);
    if (!m) return E_NOMEM;
    m->reason = bye->reason;
    m->status = bye->status;
    post(m);
    return 0;
}
