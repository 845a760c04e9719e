/* What a ring lost before a stream read it, by the policy of its channel; see slow.h. */
#include "fan/slow.h"

#include "fan/fan_state.h"
#include "fan/sub.h"

static uint64_t later_of(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

/* Events of a log that were wanted and are gone. */
static void count_dropped(struct sub *sub, uint64_t pos) {
    struct chan *c = sub_chan(sub);
    uint32_t left = 0;
    if (!sub_filter(sub)) left = (uint32_t)(c->kept->head - pos);
    else
        for (; pos < c->kept->head; pos++)
            left += filter_wants(sub_filter(sub), chan_at(c, pos));
    sub_count_dropped(sub, left);
}

/* A log that moved past this stream: its policy says what happens, and the client
 * gets the notice before any later event of the channel. */
static void report_slow(struct stream *s, struct sub *sub) {
    struct chan *c = sub_chan(sub);
    bool closes = c->policy->slow == SLOW_CLOSE;
    uint64_t lost = chan_lost(c);
    s->fan->slow++;
    bool tells = !sub_is_local(sub) || PLANTED(672);
    struct loss loss = {.channel = chan_name(c),
                        .reason = RESET_SLOW,
                        .by = LOST_BACKLOG,
                        .from = tells ? stream_cursor(s, sub) : 0,
                        .oldest = tells ? chan_oldest(c, lost) : 0,
                        .closes = closes && !s->ending};
    if (loss.closes) {
        s->fan->ops->lost(s, &loss);
        stream_bye(s, END_SLOW);
    } else {
        count_dropped(sub, chan_after(c, lost));
        stream_reset(s, &loss);
    }
    sub->from = lost;
    if (c->kind == CHANNEL_KEYED && !s->ending) sub_replay(sub);
}

/* Something of a state went before this stream saw it: it gets the whole snapshot again. */
static void report_lost_state(struct stream *s, struct sub *sub) {
    stream_reset(s, &(struct loss){.channel = chan_name(sub_chan(sub)),
                                   .reason = RESET_SLOW,
                                   .by = LOST_BACKLOG});
    s->fan->slow++;
    sub->from = 0;
    sub->joined = fan_head(s->fan, sub_chan(sub));
    sub->counted = sub->audience->wanted;
}

/* Where it goes on in its log. */
static uint64_t log_place(const struct stream *s, const struct sub *sub) {
    uint64_t at = stream_cursor(s, sub);
    return sub->snapshot ? later_of(at, sub->joined) : at;
}

static bool lost_something(const struct stream *s, const struct sub *sub) {
    const struct chan *c = sub_chan(sub);
    if (c->kind != CHANNEL_STATE) return c->kept->gone > log_place(s, sub);
    const struct latest *l = c->kept->latest;
    return l && l->lost > later_of(stream_cursor(s, sub), sub->joined);
}

bool slow_check(struct stream *s) {
    bool pages = false;
    if (s->last_note && stream_note(s)->alone)
        return false; /* it gets no notice any more */
    for (struct sub *sub = s->subs; sub; sub = sub->next) {
        pages = pages || sub->seeks;
        if (!lost_something(s, sub)) continue;
        stream_wake(s); /* it lags, with a cursor of its own */
        if (sub_is_state(sub)) report_lost_state(s, sub);
        else if (chan_lost(sub_chan(sub)) > log_place(s, sub)) report_slow(s, sub);
        pages = pages || chan_is_paged(sub_chan(sub));
    }
    return pages;
}
