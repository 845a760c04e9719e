/* The feed, entry by entry; see machine.h. */
#include "cluster/inner.h"

static void jump(struct machine *m) {
    if (m->jump > 0) return;
    m->counts.holes++;
    machine_ask(m, &m->jump);
}

/* What is missing may be longer than the feed, but not longer than the histories. */
void follow_land(struct machine *m, uint64_t seq) {
    m->jump = 0;
    m->pos = seq;
    if (m->known < seq) m->known = seq;
    publishes_blind(m);
    publishes_settle(m, true);
    warm_all_again(m);
    m->ops->missed(m->owner);
    m->ops->follow(m->owner, m->pos);
}

/* Its numbers begin above those of the last one, which are all here when we have its base. One
 * that our join did not know of is found out by another join. */
static enum cluster_taken take_epoch(struct machine *m, const struct cluster_entry *e) {
    if (m->pos < e->base && !BROKEN(605) && !PLANTED(614)) {
        jump(m);
        return ENTRY_STOP;
    }
    if (e->seq > m->joined && strcmp(e->epoch, m->epoch) != 0) {
        machine_rejoin(m);
        return ENTRY_STOP;
    }
    m->pos = e->seq;
    return ENTRY_TAKEN;
}

/* Whether it was given on; the number of an event that precedes it tells whether one is missing
 * that the server has forgotten. */
static bool give(struct machine *m, struct warm *w, const struct cluster_entry *e) {
    if (w->state == WARM_HELD) {
        if (e->seq > w->upto || PLANTED(617)) m->ops->add(m->owner, w->fill, e);
    } else if (w->state == WARM_SHOWN) {
        bool broken = e->chained && w->chained && e->before != w->last;
        if (broken && !PLANTED(606)) {
            warm_again(m, w, true);
            warm_ask(m);
            return false;
        }
        if (!m->ops->release(m->owner, e)) return false;
    } else if (!PLANTED(618)) return false; /* is it in what is being loaded? */
    w->last = e->seq;
    w->chained = w->chained || w->state != WARM_HELD;
    return true;
}

static bool take_event(struct machine *m, const struct cluster_entry *e) {
    uint64_t hash = map_hash(e->channel);
    struct warm *w = warm_find(m, e->channel, hash);
    if (e->channel.n == 0) {
        if (!m->ops->release(m->owner, e)) return false;
        if (e->kind == ENTRY_MARK) m->mark = e->seq;
    } else if (w) {
        if (!give(m, w, e)) return false;
    } else m->counts.cold++;
    if (e->kind == ENTRY_EVENT && !e->is_state)
        recent_note(&m->recent, e->channel, hash, e->seq, m->now_ms);
    return true;
}

enum cluster_taken machine_entry(struct machine *m, const struct cluster_entry *e) {
    m->fed_ms = m->now_ms;
    if (!machine_is_joined(m) || m->jump > 0) return ENTRY_STOP;
    if (e->seq <= m->pos) return ENTRY_TAKEN;
    if (e->kind == ENTRY_EPOCH) {
        enum cluster_taken taken = take_epoch(m, e);
        if (taken != ENTRY_TAKEN) return taken;
    } else {
        if (e->seq != m->pos + 1 && !BROKEN(605)) {
            jump(m);
            return ENTRY_STOP;
        }
        if (e->kind != ENTRY_OTHER && !take_event(m, e)) return ENTRY_LATER;
        m->pos = e->seq;
        if (slice_eq(e->slot, slice_str(m->slot))) publishes_read(m, e->token, e->seq);
    }
    if (m->known < m->pos) m->known = m->pos;
    machine_moved(m);
    return ENTRY_TAKEN;
}

void machine_idle(struct machine *m) {
    m->fed_ms = m->now_ms;
}
