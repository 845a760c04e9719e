/* What arrives from the app on an I/O thread: events and commands in their order, and what
 * is for one client or request; see to_io.h. */
#include "base/mem.h"
#include "base/status.h"
#include "fan/history.h"
#include "fan/stream_open.h"
#include "serve/io/conn.h"
#include "serve/io/reply.h"
#include "serve/io/worker.h"
#include "serve/to_app.h"
#include "serve/to_io.h"

void io_on_frame(void *owner, struct message *m) {
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

void io_on_page(void *owner, struct message *m) {
    struct worker *w = owner;
    history_answer(&w->fan, container_of(m, struct page_request, message));
}

static void configure(struct worker *w, struct io_command *command) {
    routes_unref(w->routes);
    w->routes = routes_ref(command->routes);
    if (!command->policies) return;
    fan_policies(&w->fan, command->policies);
    follow_policies(w);
}

static void convert(struct worker *w, struct io_command *command) {
    w->fan.history = command->history;
    fan_convert(&w->fan, &command->conversion->brings);
}

void io_on_command(void *owner, struct message *m) {
    struct worker *w = owner;
    struct io_command *command = container_of(m, struct io_command, message);
    if (command->kind == IO_TRIM)
        fan_trim(&w->fan, command->channel, command->seq, command->by);
    else if (command->kind == IO_DROP) fan_drop(&w->fan, command->channel);
    else if (command->kind == IO_CONVERT) convert(w, command);
    else configure(w, command);
    conversion_unref(command->conversion);
    routes_unref(command->routes);
    policy_set_unref(command->policies);
    mem_free(command);
}

void io_on_reply(void *owner, struct message *m) {
    (void)owner;
    struct request *r = container_of(m, struct request, to_io);
    bool stays = r->conn && !r->conn->doomed;
    if (stays && r->reply == REPLY_STREAM &&
        follow_waits(conn_worker(r->conn), r, r->plan)) {
        request_unref(r);
        return;
    }
    if (stays) reply_take(r->conn, r);
    else if (!r->again) to_app_closed(r->client, END_GONE);
    request_unref(r);
}

/* ---- To one client ------------------------------------------------------------------ */

static void deny(struct stream *stream, struct slice channel) {
    if (!stream_unsubscribe(stream, channel)) return;
    stream_reset(stream, &(struct loss){.channel = channel,
                                        .reason = RESET_DENIED,
                                        .from = stream->cursor});
    if (stream->n_subs == 0) stream_bye(stream, END_REVOKED);
    stream_wake(stream);
}

static void change(struct stream *stream, const struct client_message *m) {
    const struct sub_spec *spec = &m->plan->specs[0];
    int err = 0;
    if (m->op == CLIENT_SUBSCRIBE) err = stream_subscribe(stream, spec);
    else if (m->op == CLIENT_UNSUBSCRIBE) stream_unsubscribe(stream, spec->channel);
    else if (m->op == CLIENT_DENY) deny(stream, spec->channel);
    else err = stream_set(stream, spec);
    if (err < 0 && err != E_CLOSED) stream_bye(stream, END_OVERLOAD);
}

static void take_text(struct outlet *o, struct slice text) {
    o->unacked += (uint32_t)text.n;
    if (stream_send(&o->stream, text) == E_NOMEM) stream_bye(&o->stream, END_OVERLOAD);
}

void io_on_client(void *owner, struct message *message) {
    struct client_message *m = container_of(message, struct client_message, message);
    if (follow_parks(owner, m)) return;
    struct outlet *o = m->client->outlet;
    if (o && m->op == CLIENT_SEND) take_text(o, m->words);
    else if (o && m->op == CLIENT_END) stream_end(&o->stream, &m->bye);
    else if (o) change(&o->stream, m);
    if (o && m->op == CLIENT_DENY) outlet_on_deny(o);
    if (o && o->stream.ending) outlet_on_end(o);
    plan_unref(m->plan);
    client_unref(m->client);
    mem_free(m);
}
