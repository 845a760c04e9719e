/* Whether this node leads, for the app: what runs once in the cluster runs here then. The app hears of
 * each change in its turn, and asks at the moment at which it acts, since it may have slept. */
#include "serve/cluster.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "serve/cluster_inner.h"

void cluster_note_lead(struct cluster *c) {
    const struct machine *m = node_machine(c->node);
    atomic_store(&c->lead_till_ms, m->lead.till_ms);
    atomic_store(&c->lead, m->lead.token);
    atomic_store(&c->ahead_ms, node_time_ms(c->node) - clock_boot_ms());
}

void cluster_app_answers(struct cluster *c) {
    ASSERT_OWNER(c->hub->app);
    atomic_store(&c->answered_ms, clock_boot_ms());
}

/* In a rehearsal its turns are those of the app. */
int64_t cluster_on_answered(void *owner) {
    struct cluster *c = owner;
    return c->has_thread ? atomic_load(&c->answered_ms) : clock_boot_ms();
}

static bool is_stuck(struct cluster *c) {
    return clock_boot_ms() >= cluster_on_answered(c) + CLUSTER_STUCK_MS;
}

void cluster_on_lead(void *owner) {
    struct cluster *c = owner;
    bool leads = node_machine(c->node)->lead.token > 0;
    cluster_note_lead(c);
    c->has_changed = true;
    cluster_tell_app(c);
    if (leads)
        log_printf(LOG_INFO,
                   "cluster: this node leads: timers, services and tasks of all "
                   "run here");
    else if (is_stuck(c))
        log_printf(LOG_WARN,
                   "cluster: the app has not answered for %d s: this node does not lead "
                   "any more, another one may",
                   CLUSTER_STUCK_MS / 1000);
    else log_printf(LOG_INFO, "cluster: this node does not lead any more");
}

uint64_t cluster_leads(const struct cluster *c) {
    uint64_t token = atomic_load(&c->lead);
    return clock_boot_ms() < atomic_load(&c->lead_till_ms) ? token : 0;
}

int64_t cluster_time_ms(const struct cluster *c) {
    return clock_boot_ms() + atomic_load(&c->ahead_ms);
}

static void on_give_up(void *owner, struct message *m) {
    struct cluster *c = owner;
    mem_free(m);
    node_give_up_lead(c->node, true);
}

void cluster_give_up_lead(struct cluster *c) {
    ASSERT_OWNER(c->hub->app);
    mailbox_post(&c->loop.mailbox, mem_new(sizeof(struct message)), on_give_up);
}
