/* The life of a question; see question.h. */
#include "serve/question.h"

#include "base/mem.h"
#include "serve/client.h"

struct question *question_new(struct lane *lane, uint64_t ticket, struct client *client,
                              struct slice channel, struct slice wanted) {
    struct question *q = mem_new(sizeof *q + channel.n + wanted.n);
    if (channel.n > 0) memcpy(q->text, channel.p, channel.n);
    if (wanted.n > 0) memcpy(q->text + channel.n, wanted.p, wanted.n);
    q->lane = lane;
    q->ticket = ticket;
    q->client = client ? client_ref(client) : NULL;
    q->channel = slice_of(q->text, channel.n);
    q->wanted = slice_of(q->text + channel.n, wanted.n);
    return q;
}

void question_free(struct question *q) {
    client_unref(q->client);
    buf_free(&q->answer);
    mem_free(q);
}
