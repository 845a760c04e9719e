/* Adding up and looking up; see accounts.h. */
#include "serve/app/accounts.h"

#include "base/mem.h"
#include "serve/app/server.h"

struct slice account_key(const struct map_node *node) {
    const struct account *a = container_of(node, const struct account, node);
    return slice_of(a->channel, a->channel_n);
}

static struct account *find(const struct server *s, struct slice channel) {
    struct map_node *node = map_get(&s->accounts, channel);
    return node ? container_of(node, struct account, node) : NULL;
}

static bool is_held(const struct server *s, struct slice channel) {
    return chans_find(&s->fan.chans, channel) || server_subscribers(s, channel) > 0;
}

static struct account *open_account(struct server *s, struct slice channel) {
    struct account *a = mem_new(sizeof *a + channel.n);
    memcpy(a->channel, channel.p, channel.n);
    a->channel_n = (uint32_t)channel.n;
    map_add(&s->accounts, &a->node);
    return a;
}

static struct slice name_of(const struct tally *t) {
    return slice_of(t->channel, t->channel_n);
}

/* Of a channel that was forgotten meanwhile only the server's sum remembers. */
static void enter(struct server *s, const struct tally *t) {
    tally_add(&s->counted, &t->counts);
    tally_add(&groups_find(s, name_of(t))->counts, &t->counts);
    struct account *a = find(s, name_of(t));
    if (!a && is_held(s, name_of(t))) a = open_account(s, name_of(t));
    if (a) tally_add(&a->counts, &t->counts);
    budgets_add(s, name_of(t), t->counts.delivered_bytes);
}

void app_on_report(void *owner, struct message *m) {
    struct server *s = owner;
    struct report *r = container_of(m, struct report, message);
    struct lane *lane = r->lane;
    server_catch_up(s); /* what is counted was counted for subscribers */
    for (struct list *l = r->tallies.next, *next; l != &r->tallies; l = next) {
        struct tally *t = container_of(l, struct tally, node);
        next = l->next;
        enter(s, t);
        if (t->n_lagging == 0) tally_free(t);
    }
    if (r->n == 0) { /* nothing to remember */
        report_free(r);
        r = NULL;
    }
    report_free(lane->report);
    lane->report = r;
    atomic_store_explicit(&lane->reporting, false, memory_order_release);
    budgets_tell(s);
}

struct tally_counts accounts_of(const struct server *s, struct slice channel) {
    ASSERT_OWNER(&s->loop);
    const struct account *a = find(s, channel);
    return a ? a->counts : (struct tally_counts){0};
}

/* ---- Lagging streams ---------------------------------------------------------------- */

static void greatest(struct lag *lag, struct lag other) {
    if (other.events > lag->events) lag->events = other.events;
    if (other.bytes > lag->bytes) lag->bytes = other.bytes;
}

static void add_channel_lag(const struct report *r, struct slice channel, struct lag *lag,
                            uint32_t *n_lagging) {
    for (const struct list *l = r->tallies.next; l != &r->tallies; l = l->next) {
        const struct tally *t = container_of(l, struct tally, node);
        if (!slice_eq(name_of(t), channel)) continue;
        greatest(lag, t->lag);
        *n_lagging += t->n_lagging;
    }
}

struct lag accounts_lag(const struct server *s, struct slice channel,
                        uint32_t *n_lagging) {
    ASSERT_OWNER(&s->loop);
    struct lag lag = {0};
    *n_lagging = 0;
    for (unsigned i = 0; i < s->hub.n_lanes; i++) {
        const struct report *r = s->hub.lanes[i]->report;
        if (!r) continue;
        if (channel.n > 0) {
            add_channel_lag(r, channel, &lag, n_lagging);
            continue;
        }
        for (uint32_t k = 0; k < r->n; k++) greatest(&lag, r->lagging[k].lag);
        *n_lagging += r->n;
    }
    return lag;
}

const struct lagging *accounts_lagging(const struct client *c) {
    const struct report *r = c->lane->report;
    for (uint32_t i = 0; r && i < r->n; i++)
        if (strcmp(r->lagging[i].client, c->id) == 0) return &r->lagging[i];
    return NULL;
}

static bool is_slower(const struct lagging *a, const struct lagging *b) {
    if (a->lag.bytes != b->lag.bytes) return a->lag.bytes > b->lag.bytes;
    return a->since_ms < b->since_ms;
}

uint32_t accounts_slowest(const struct server *s, const struct lagging **out,
                          uint32_t n) {
    ASSERT_OWNER(&s->loop);
    uint32_t found = 0;
    for (unsigned i = 0; i < s->hub.n_lanes && n > 0; i++) {
        const struct report *r = s->hub.lanes[i]->report;
        for (uint32_t k = 0; r && k < r->n; k++) {
            const struct lagging *b = &r->lagging[k];
            if (found == n && !is_slower(b, out[n - 1])) continue;
            if (!server_find_client(s, slice_str(b->client))) continue; /* it has gone */
            uint32_t at = found < n ? found++ : n - 1;
            for (; at > 0 && is_slower(b, out[at - 1]); at--) out[at] = out[at - 1];
            out[at] = b;
        }
    }
    return found;
}

/* ---- Forgetting --------------------------------------------------------------------- */

static void close_account(struct server *s, struct account *a) {
    map_remove(&s->accounts, &a->node);
    mem_free(a);
}

void accounts_release(struct server *s, struct slice channel) {
    ASSERT_OWNER(&s->loop);
    struct account *a = find(s, channel);
    if (a && !is_held(s, channel)) close_account(s, a);
}

void accounts_free(struct server *s) {
    for (struct map_node *node; (node = map_next(&s->accounts, NULL));)
        close_account(s, container_of(node, struct account, node));
    map_deinit(&s->accounts);
    for (unsigned i = 0; i < s->hub.n_lanes; i++) {
        report_free(s->hub.lanes[i]->report);
        s->hub.lanes[i]->report = NULL;
    }
}
