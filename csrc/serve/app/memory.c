/* Counting and halving; see memory.h. */
#include "serve/app/memory.h"

#include "base/log.h"
#include "base/status.h"
#include "serve/app/command.h"

size_t memory_of(const struct chan *c) {
    const struct kept *k = c->kept;
    size_t frames = (size_t)(k->head - k->tail);
    size_t bytes = (size_t)k->ring_bytes;
    if (k->latest) {
        frames += k->latest->live;
        bytes += k->latest->bytes;
    }
    return bytes + frames * sizeof(struct frame);
}

void memory_changed(struct server *s, const struct chan *c, size_t before) {
    s->held += memory_of(c) - before;
}

void memory_recount(struct server *s) {
    ASSERT_OWNER(&s->loop);
    s->held = 0;
    for (struct chan *c = NULL; (c = chans_next(&s->fan.chans, c));)
        s->held += memory_of(c);
}

static size_t largest(const struct server *s) {
    size_t most = 0;
    for (struct chan *c = NULL; (c = chans_next(&s->fan.chans, c));) {
        size_t bytes = memory_of(c);
        if (bytes > most) most = bytes;
    }
    return most;
}

/* The number that parts the older half of what the channel holds; 0: nothing to part. */
static uint64_t middle(const struct chan *c) {
    const struct kept *k = c->kept;
    const struct latest *l = k->latest;
    uint64_t n = k->head - k->history;
    if (c->kind != CHANNEL_STATE && n > 0)
        return chan_at(c, k->history + (n - 1) / 2)->seq;
    if (!l || l->live == 0) return 0;
    uint32_t i = latest_after(l, 0);
    for (uint32_t left = (l->live - 1) / 2; left > 0; left--) i = latest_next(l, i);
    return latest_at(l, i)->seq;
}

static void halve(struct server *s, struct chan *c) {
    uint64_t seq = middle(c);
    if (seq == 0) return;
    command_trim(s, chan_name(c), seq, LOST_MEMORY);
    struct log_field fields[] = {
        {.name = "channel", .text = c->name, .text_n = c->name_n},
        {.name = "events", .number = (double)chan_events(c)},
        {.name = "limit", .number = (double)s->hub.options.memory}};
    if (s->swept_ms != s->memory_logged_ms) /* one line a second is enough */
        log_write(LOG_WARN, "the memory limit is reached: the largest history is cut",
                  fields, 3);
    s->memory_logged_ms = s->swept_ms;
}

/* Halve every channel that holds at least half of what the largest does: each pass frees
 * a fair share, however many channels there are. */
static void pass(struct server *s, size_t least) {
    for (struct chan *c = NULL; (c = chans_next(&s->fan.chans, c));) {
        if (memory_of(c) >= least) halve(s, c);
        if (s->held <= s->hub.options.memory) return;
    }
}

int memory_check(struct server *s) {
    ASSERT_OWNER(&s->loop);
    for (size_t before = 0; s->held > s->hub.options.memory && s->held != before;) {
        before = s->held;
        pass(s, largest(s) / 2 + 1);
    }
    return s->held > s->hub.options.memory ? E_FULL : 0;
}
