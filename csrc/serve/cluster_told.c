/* What whoever runs it is told of Redis: in the log, once when something begins and once when it ends, and what
 * balancers are told of this node. */
#include "base/clock.h"
#include "base/log.h"
#include "serve/cluster_inner.h"

#include <stdio.h>

#define UNLIKE_TICKS 10 /* seconds */
#define AWAY_MS 5000    /* then new clients go elsewhere */

/* True: the start fails, and whoever waits for it says why. */
static bool settle(struct cluster *c, const char *refused) {
    pthread_mutex_lock(&c->lock);
    bool fails = !c->is_settled && refused;
    if (fails) {
        c->is_refused = true;
        snprintf(c->trouble, sizeof c->trouble, "%s", refused);
    }
    c->is_settled = true;
    pthread_cond_signal(&c->settled);
    pthread_mutex_unlock(&c->lock);
    return fails;
}

const char *cluster_trouble(const struct cluster *c) {
    return c->trouble;
}

/* ---- [cluster] --------------------------------------------------------------------------- */

static void note_refusal(struct cluster *c, const char *why, bool leads) {
    bool is_idle = *why && !leads; /* it can neither lead nor publish */
    snprintf(c->refusal, sizeof c->refusal, "%s", why);
    atomic_store(&c->refused_ms, is_idle ? clock_ms() : 0);
    c->has_changed = true;
}

/* Once for each reason, until it is live again. */
void cluster_on_tell(void *owner, const char *why, bool refused) {
    struct cluster *c = owner;
    bool is_new = strcmp(c->told, why) != 0;
    snprintf(c->told, sizeof c->told, "%s", why);
    c->has_changed = true;
    if (refused && settle(c, why)) return;
    if (is_new) log_printf(refused ? LOG_ERROR : LOG_WARN, "cluster: %s", why);
}

void cluster_on_refuses(void *owner, const char *why, bool leads) {
    struct cluster *c = owner;
    if (why && *why) log_printf(LOG_ERROR, "cluster: %s", why);
    else if (why && c->refusal[0])
        log_printf(LOG_INFO, "cluster: Redis takes writes again");
    note_refusal(c, why ? why : "", leads);
}

void cluster_note_reached(struct cluster *c) {
    atomic_store(&c->is_reached, true);
    (void)settle(c, NULL);
}

void cluster_tell_state(struct cluster *c) {
    const struct machine *m = node_machine(c->node);
    c->is_live = m->state == MACHINE_LIVE;
    if (c->is_live)
        log_printf(LOG_INFO, "cluster: live, epoch %s, number %llu", m->epoch,
                   (unsigned long long)m->pos);
    else
        log_printf(LOG_WARN, "cluster: Redis is away: open streams stay, and what is "
                             "published waits");
    if (c->is_live) c->told[0] = '\0';
}

/* Each minute; not at first, since a reload goes from node to node. */
void cluster_say_unlike(struct cluster *c) {
    const char *names = node_unlike(c->node);
    uint32_t before = c->unlike_ticks;
    c->unlike_ticks = *names ? before + 1 : 0;
    if (!*names && before >= UNLIKE_TICKS)
        log_printf(LOG_INFO, "cluster: all nodes have the same channels again");
    if (c->unlike_ticks % 60 == UNLIKE_TICKS)
        log_printf(LOG_WARN,
                   "cluster: %s and %s have other channels under one --cluster-name: is "
                   "one of them another app? Else a reload has not reached all of them",
                   node_label(c->node), names);
}

const char *cluster_trouble_now(const struct cluster *c) {
    if (c->refusal[0]) return c->refusal;
    if (node_machine(c->node)->state == MACHINE_LIVE) return "";
    return c->told[0] ? c->told : "Redis is away";
}

/* ---- [any thread] ------------------------------------------------------------------------ */

bool cluster_is_apart(const struct cluster *c) {
    return atomic_load(&c->away_ms) > 0;
}

bool cluster_has_others(struct cluster *c) {
    pthread_mutex_lock(&c->lock);
    bool has = c->look.nodes > 1;
    pthread_mutex_unlock(&c->lock);
    return has;
}

/* Who was never there has nothing to give to clients; else a moment is no reason to send them away. */
static bool lasts(const struct cluster *c, int64_t since_ms) {
    if (since_ms == 0) return false;
    return !atomic_load(&c->is_reached) || clock_ms() - since_ms > AWAY_MS;
}

enum cluster_lack cluster_lacks(const struct cluster *c) {
    if (lasts(c, atomic_load(&c->refused_ms))) return CLUSTER_LACKS_WRITES;
    return lasts(c, atomic_load(&c->away_ms)) ? CLUSTER_LACKS_REDIS
                                              : CLUSTER_LACKS_NOTHING;
}
