/* Values that go with this node (lease = true), as the app has them (lua/sluice/live/leases.lua): it hears, in
 * the order of the feed, when another node sets or removes one of them, and when all are to be said
 * again, which is when this node has read as far as Redis was when it joined.
 *
 * Few nodes touch what is another one's, and many touch what is their own: so a bit for each of ours
 * says what may be one, and the app hears of nothing else. */
#include "serve/cluster_inner.h"

#include "base/map.h"
#include "base/mem.h"
#include "base/planted.h"
#include "cluster/notice.h"

static uint64_t bit_of(struct slice channel, struct slice key) {
    return map_mark(map_hash(channel), key) % (LEASED_BYTES * 8ull);
}

void cluster_note_lease(struct cluster *c, struct slice channel, struct slice key) {
    ASSERT_OWNER(c->hub->app);
    uint64_t bit = bit_of(channel, key);
    atomic_fetch_or(&c->leased[bit / 8], (uint8_t)(1u << bit % 8));
}

/* What has no token was removed for a dead node: if that is this one, it lives, and says so. */
void cluster_on_read(void *owner, const struct entry *e) {
    struct cluster *c = owner;
    if (e->token.n == 0 || slice_eq(e->slot, slice_str(node_machine(c->node)->slot)))
        return;
    uint64_t bit = bit_of(e->channel, e->key);
    if (!(atomic_load(&c->leased[bit / 8]) & (1u << bit % 8))) return;
    struct buf text = {0};
    struct entry told = {
        .letter = NOTICE_TAKEN, .event = e->event, .key = e->key, .slot = e->slot};
    if (buf_add(&text, e->remove ? "r" : "s", 1) == 0 &&
        buf_add(&text, e->channel.p, e->channel.n) == 0) {
        told.data = buf_slice(&text);
        cluster_post_answers(c); /* of what came before it */
        cluster_pass_notice(c, &told);
    }
    buf_free(&text);
}

void cluster_owe_leases(struct cluster *c) {
    c->owes_leases = true;
}

void cluster_say_leases(struct cluster *c) {
    bool has_read = node_machine(c->node)->state == MACHINE_LIVE || PLANTED(662);
    if (!c->owes_leases || !has_read) return;
    c->owes_leases = false;
    cluster_post_answers(c);
    cluster_say_reaped(c);
}
