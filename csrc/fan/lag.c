/* Measuring; see lag.h. */
#include "fan/lag.h"

#include "base/bounds.h"

static int most_looks(const int *looks) {
    return *looks < LAG_WALK_MAX ? *looks : LAG_WALK_MAX;
}

/* 'part' of 'all' positions were looked at: the others are like them. */
static struct lag scale(struct lag lag, uint64_t part, uint64_t all) {
    if (part == 0 || part >= all) return lag;
    double times = (double)all / (double)part;
    return (struct lag){(uint64_t)((double)lag.events * times),
                        (uint64_t)((double)lag.bytes * times)};
}

static void look(const struct sub *sub, const struct frame *f, struct lag *lag) {
    if (f->remove && sub_is_state(sub) && f->seq <= sub->joined) return;
    if (!sub_wants(sub, f)) return;
    lag->events++;
    lag->bytes += f->text.n;
}

/* All that the ring has from a position on: lines, of which the frames have the sum, since it
 * is known before their numbers are; and the end of each, which is as long as the last one's.
 * What a store refused is a gap in the sum, and a channel that was forgotten and came back
 * began it anew: it is at most what the ring holds. */
static struct lag whole(const struct chan *c, uint64_t pos) {
    if (pos == c->kept->head) return (struct lag){0};
    const struct frame *first = chan_at(c, pos), *last = chan_at(c, c->kept->head - 1);
    uint64_t n = c->kept->head - pos, lines = frame_lines(last).n;
    uint64_t bytes = last->before + lines - first->before + n * (last->text.n - lines);
    if (bytes > c->kept->ring_bytes) bytes = c->kept->ring_bytes;
    return (struct lag){n, bytes};
}

static struct lag in_ring(const struct sub *sub, uint64_t after, int *looks) {
    const struct chan *c = sub_chan(sub);
    uint64_t first = chan_after(c, after), pos = first;
    int most = most_looks(looks);
    if (!sub_filter(sub) || most == 0) return whole(c, first);
    struct lag lag = {0};
    for (; pos < c->kept->head && most > 0; pos++, most--, --*looks)
        look(sub, chan_at(c, pos), &lag);
    return scale(lag, pos - first, c->kept->head - first);
}

static struct lag in_latest(const struct sub *sub, uint64_t after, int *looks) {
    const struct latest *l = sub_chan(sub)->kept->latest;
    if (!l) return (struct lag){0};
    uint64_t end = sub->snapshot ? sub->joined : UINT64_MAX;
    uint32_t first = latest_after(l, after), i = first;
    int most = most_looks(looks);
    struct lag lag = {0};
    for (; i < l->n && most > 0; i = latest_next(l, i), most--, --*looks) {
        const struct frame *f = latest_at(l, i);
        if (f->seq > end) return lag;
        look(sub, f, &lag);
    }
    return scale(lag, i - first, l->n - first);
}

struct lag lag_of(const struct sub *sub, int *looks) {
    ASSERT_OWNER(sub->stream->fan->loop);
    uint64_t after = stream_cursor(sub->stream, sub);
    if (sub_is_state(sub)) return in_latest(sub, after, looks);
    if (!sub->snapshot || after >= sub->joined) return in_ring(sub, after, looks);
    struct lag first = in_latest(sub, after, looks);
    struct lag then = in_ring(sub, sub->joined, looks);
    return (struct lag){first.events + then.events, first.bytes + then.bytes};
}
