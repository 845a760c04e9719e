/* What the I/O threads are asked, for whoever asks why; see server.h. */
#include "serve/app/server.h"
#include "serve/to_io.h"

uint64_t server_ask(struct server *s, struct client *c, struct slice channel,
                    const struct notes_wanted *wanted) {
    ASSERT_OWNER(&s->loop);
    uint64_t ticket = ++s->next_question;
    for (unsigned i = 0; i < s->hub.n_lanes; i++) {
        struct lane *lane = s->hub.lanes[i];
        struct client *here = c && c->lane == lane ? c : NULL;
        to_io_question(question_new(lane, ticket, here, channel, wanted));
    }
    return ticket;
}

void app_on_told(void *owner, struct message *m) {
    struct server *s = owner;
    struct question *q = container_of(m, struct question, message);
    if (s->events->on_told)
        s->events->on_told(s->context, q->ticket, buf_slice(&q->answer));
    question_free(q);
}
