/* The life of a question; see question.h. */
#include "serve/question.h"

#include "base/mem.h"
#include "serve/client.h"

static struct slice put(char **at, struct slice from) {
    struct slice to = slice_of(*at, from.n);
    if (from.n > 0) memcpy(*at, from.p, from.n);
    *at += from.n;
    return to;
}

struct question *question_new(struct lane *lane, uint64_t ticket, struct client *client,
                              struct slice channel, const struct notes_wanted *wanted) {
    size_t n = channel.n + wanted->value.n + wanted->name.n;
    struct question *q = mem_new(sizeof *q + n);
    char *at = q->text;
    q->lane = lane;
    q->ticket = ticket;
    q->client = client ? client_ref(client) : NULL;
    q->channel = put(&at, channel);
    q->wanted.value = put(&at, wanted->value);
    q->wanted.name = put(&at, wanted->name);
    return q;
}

void question_free(struct question *q) {
    client_unref(q->client);
    buf_free(&q->answer);
    mem_free(q);
}
