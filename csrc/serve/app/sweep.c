/* Ages of events; see sweep.h. */
#include "serve/app/sweep.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "serve/app/command.h"
#include "serve/app/durable.h"

/* The newest event of the channel that is older than the cutoff; 0: none. */
static uint64_t last_older(const struct chan *c, int64_t cutoff_ms) {
    const struct kept *k = c->kept;
    const struct latest *l = k->latest;
    uint64_t seq = 0;
    if (c->kind == CHANNEL_STATE) {
        uint32_t i = latest_after(l, 0);
        for (; i < l->n; i = latest_next(l, i)) {
            if (latest_at(l, i)->at_ms > cutoff_ms) break;
            seq = latest_at(l, i)->seq;
        }
        return seq;
    }
    for (uint64_t i = k->history; i < k->head; i++) {
        if (chan_at(c, i)->at_ms > cutoff_ms) break;
        seq = chan_at(c, i)->seq;
    }
    return seq;
}

static bool is_empty(const struct chan *c, int64_t now_ms) {
    if (chan_events(c) > 0) return false;
    return c->kind != CHANNEL_KEYED ||
           !latest_newest(c->kept->latest, slice_of(NULL, 0), now_ms);
}

static void sweep_channel(struct server *s, struct chan *c, int64_t now_ms) {
    if (!c->known) return;
    if (s->durable && durable_is_busy(s))
        return; /* it may be what the store is told of */
    int64_t ttl_ms = c->policy->ttl_ms;
    uint64_t seq = ttl_ms > 0 ? last_older(c, now_ms - ttl_ms) : 0;
    if (seq > 0) command_trim(s, chan_name(c), seq, LOST_TTL);
    if (c->policy->durable || (s->hub.cluster && !c->policy->local))
        return; /* the store has something of it, or its floor; or the cluster lets go of it */
    bool silent = now_ms - c->kept->last_ms >= (ttl_ms > 0 ? ttl_ms : TTL_DEFAULT_MS);
    if (silent && is_empty(c, now_ms) && server_subscribers(s, chan_name(c)) == 0)
        command_drop(s, chan_name(c));
}

static void give_back(struct server *s) {
    uint64_t requests = hub_totals(&s->hub).requests;
    bool calm = requests - s->requests_seen <= CALM_REQUESTS;
    s->requests_seen = requests;
    if (!calm || requests - s->requests_freed < STORM_REQUESTS) return;
    s->requests_freed = requests;
    mem_give_back();
}

void sweep_run(struct server *s, int64_t now_ms) {
    ASSERT_OWNER(&s->loop);
    server_catch_up(s);
    give_back(s);
    budgets_look(s, now_ms);
    const struct map *m = &s->fan.chans.map;
    size_t buckets = m->size / 60 > 1024 ? m->size / 60 : 1024;
    if (s->swept >= m->size) s->swept = 0;
    for (; buckets > 0 && s->swept < m->size; buckets--, s->swept++) {
        for (struct map_node *node = m->buckets[s->swept], *next; node; node = next) {
            next = node->next;
            sweep_channel(s, container_of(node, struct chan, node), now_ms);
        }
    }
}
