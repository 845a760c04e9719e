/* The lead: a lease that beats renew; see machine.h. */
#include "cluster/inner.h"

#include <stdio.h>

/* When its app will have been silent for too long. */
static int64_t stuck_at(const struct machine *m) {
    if (!m->ops->answered || PLANTED(652)) return INT64_MAX;
    return m->ops->answered(m->owner) + CLUSTER_STUCK_MS;
}

bool lead_would(const struct machine *m) {
    return !m->lead.gives_up && m->now_ms < stuck_at(m);
}

static void begin(struct machine *m, uint64_t token, int64_t till_ms) {
    bool is_new = m->lead.token != token;
    m->lead.till_ms = till_ms;
    if (!is_new) return;
    m->lead.token = token;
    m->ops->lead(m->owner);
}

void lead_end(struct machine *m) {
    if (m->lead.token == 0) return;
    m->lead.token = 0;
    m->lead.till_ms = 0;
    m->ops->lead(m->owner);
}

/* The server counts from when it answered, which was later than the call. */
static int64_t end_of(const struct machine *m, const struct machine_sent *sent) {
    int64_t from_ms = PLANTED(650) ? m->now_ms : sent->at_ms;
    int64_t early_ms = PLANTED(651) ? 0 : CLUSTER_LEASE_EARLY_MS;
    return from_ms + CLUSTER_LEASE_MS - early_ms;
}

void lead_heard(struct machine *m, const struct machine_sent *sent,
                const struct cluster_reply *reply) {
    const struct cluster_lead *lead = &reply->lead;
    bool ours = slice_eq(lead->slot, slice_str(m->slot)) && lead_would(m);
    int64_t till_ms = end_of(m, sent);
    snprintf(m->lead.leader, sizeof m->lead.leader, "%.*s", (int)lead->slot.n,
             lead->slot.p);
    m->lead.leader_token = lead->token;
    m->lead.free_ms = m->now_ms + (lead->left_ms > 0 ? lead->left_ms : 0);
    if (!ours || m->now_ms >= till_ms) lead_end(m);
    else begin(m, lead->token, till_ms);
}

void lead_tick(struct machine *m) {
    if (m->lead.token > 0 && (m->now_ms >= m->lead.till_ms || !lead_would(m)))
        lead_end(m);
}

/* Whoever waits for the end of another one's lease asks at that moment. */
static bool waits(const struct machine *m) {
    return m->lead.token == 0 && lead_would(m) && m->lead.free_ms > m->beat_ms;
}

/* What the last beat asked for is not wanted any more. */
static bool is_stuck(const struct machine *m) {
    return m->lead.asks && m->now_ms >= stuck_at(m);
}

bool lead_wants_beat(const struct machine *m) {
    return is_stuck(m) || (waits(m) && m->now_ms >= m->lead.free_ms);
}

int64_t lead_next(const struct machine *m) {
    int64_t stuck_ms = stuck_at(m);
    if (m->lead.token > 0) return m->lead.till_ms < stuck_ms ? m->lead.till_ms : stuck_ms;
    return machine_is_joined(m) && !m->beating && waits(m) ? m->lead.free_ms : INT64_MAX;
}

void machine_give_up_lead(struct machine *m, bool gives_up) {
    if (m->lead.gives_up == gives_up) return;
    m->lead.gives_up = gives_up;
    lead_end(m);
    machine_beat(m);
}
