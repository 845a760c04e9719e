/* The connection and its calls; see machine.h. */
#include "cluster/machine.h"

#include "base/rand.h"
#include "base/status.h"
#include "cluster/inner.h"

#include <assert.h>
#include <stdio.h>

static struct slice warm_key(const struct map_node *node) {
    const struct warm *w = container_of(node, struct warm, node);
    return slice_of(w->name, w->n);
}

void machine_init(struct machine *m, const struct machine_ops *ops, void *owner,
                  const char *slot, uint64_t seed) {
    *m = (struct machine){.ops = ops, .owner = owner, .random = seed};
    snprintf(m->slot, sizeof m->slot, "%s", slot);
    recent_init(&m->recent);
    map_init(&m->warm, warm_key);
    struct list *lists[] = {&m->queue, &m->flight, &m->doubt,   &m->wanted, &m->asked,
                            &m->held,  &m->unkept, &m->keeping, &m->pages,  &m->paging};
    for (unsigned i = 0; i < sizeof lists / sizeof *lists; i++) list_init(lists[i]);
}

void machine_deinit(struct machine *m) {
    warm_drop_all(m);
    map_deinit(&m->warm);
    recent_deinit(&m->recent);
}

static void turn(struct machine *m, enum machine_state state) {
    if (state != MACHINE_LIVE && m->away_ms == 0) m->away_ms = m->now_ms;
    if (state == MACHINE_LIVE) m->away_ms = 0;
    if (m->state == state) return;
    m->state = state;
    m->ops->changed(m->owner);
}

/* ---- Calls ---------------------------------------------------------------------------- */

bool machine_has_room(const struct machine *m) {
    return m->n_sent < CLUSTER_CALLS_MAX;
}

struct machine_sent *machine_call(struct machine *m, struct cluster_call *call) {
    assert(machine_has_room(m));
    while (m->sent[call->tag].used) call->tag++;
    struct machine_sent *sent = &m->sent[call->tag];
    m->n_sent++;
    sent->used = true;
    sent->kind = call->kind;
    sent->n = call->n;
    sent->era = m->era;
    sent->at_ms = m->now_ms;
    call->slot = m->slot;
    call->epoch = m->epoch;
    call->fence = m->fence;
    call->replid = m->replid;
    call->known = sent->known = PLANTED(603) ? 0 : m->known;
    m->ops->call(m->owner, call);
    return sent;
}

void machine_beat(struct machine *m) {
    if (!machine_is_joined(m) || m->beating || !machine_has_room(m)) return;
    m->beating = true;
    m->beats++;
    m->beat_ms = m->now_ms;
    m->lead.asks = lead_would(m);
    machine_call(m,
                 &(struct cluster_call){.kind = CALL_BEAT, .would_lead = m->lead.asks});
    publishes_probe(m);
}

bool machine_ask(struct machine *m, uint64_t *ticket) {
    if (!machine_is_joined(m)) return false;
    *ticket = m->wanted_beat = m->beats + 1;
    machine_beat(m);
    return true;
}

static __attribute__((noinline)) void send_mark(struct machine *m) {
    struct slice channels[MARKS_MAX];
    struct cluster_call call = {.kind = CALL_MARK, .channels = channels};
    call.since_ms = (uint64_t)(m->now_ms - m->recent.owed_ms);
    if (!m->recent.owes_all) call.n = recent_owed(&m->recent, channels, MARKS_MAX);
    m->marking = true;
    m->mark_ms = m->now_ms;
    m->counts.marks += call.n;
    machine_call(m, &call);
}

/* What this node has read, or has given to its publishers, and nobody else may know of. Asked for
 * each entry: the names have a function of their own, whose room is cleared. */
static void mark(struct machine *m) {
    bool owes = m->recent.n_owed > 0 || m->recent.owes_all;
    if (!owes || m->marking || !machine_is_joined(m) || !machine_has_room(m)) return;
    if (m->mark_ms > 0 && m->now_ms - m->mark_ms < CLUSTER_BEAT_MS) return; /* refused */
    send_mark(m);
}

/* ---- The connection ------------------------------------------------------------------- */

static void hang_up(struct machine *m) {
    if (!m->dialled) return;
    if (machine_is_joined(m) && m->now_ms - m->joined_ms >= CLUSTER_STEADY_MS)
        m->failures = 0;
    m->dialled = m->marking = m->beating = false;
    for (unsigned i = 0; i < CLUSTER_CALLS_MAX; i++) m->sent[i].used = false;
    m->n_sent = m->n_batches = m->n_loads = 0;
    m->wanted_beat = m->jump = 0;
    m->mark_ms = 0;
    m->ops->hang_up(m->owner);
    publishes_doubt(m);
    warm_broken(m);
    pages_broken(m);
    turn(m, MACHINE_AWAY);
}

/* Half of the pause up to one and a half of it, which doubles each time. */
static int64_t pause_of(struct machine *m) {
    unsigned doubled = m->failures < 6 ? m->failures++ : 6;
    uint32_t mean = CLUSTER_AGAIN_MS << doubled;
    if (mean > CLUSTER_AGAIN_MOST_MS) mean = CLUSTER_AGAIN_MOST_MS;
    return rand_between(&m->random, mean / 2, mean + mean / 2);
}

void machine_rejoin(struct machine *m) {
    if (!m->dialled) return;
    hang_up(m);
    m->dial_ms = m->now_ms + pause_of(m);
}

void machine_broken(struct machine *m) {
    machine_rejoin(m);
}

void machine_dialled(struct machine *m) {
    assert(m->dialled && m->state == MACHINE_AWAY);
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
    for (unsigned i = 0; i < EPOCH_LENGTH; i++)
        m->new_epoch[i] = letters[rand_next(&m->random) >> 59];
    turn(m, MACHINE_PROVING);
    machine_call(m, &(struct cluster_call){.kind = CALL_JOIN, .new_epoch = m->new_epoch});
}

/* ---- Joining -------------------------------------------------------------------------- */

/* Since when others have to be told of what this node has noted, and is lost. Not of what was there before
 * the epoch began: all nodes tell of that when they hear of the epoch. So it is where all of it was
 * on this very server, which had nothing else since; and who begins the epoch is the first. */
static int64_t owes_since(const struct machine *m, const struct cluster_reply *r,
                          int64_t asked_ms) {
    bool is_same = strcmp(m->replid, r->replid) == 0 && !PLANTED(621);
    if (r->took || is_same || BROKEN(611)) return INT64_MAX;
    return PLANTED(622) ? 0 : asked_ms - (int64_t)r->age_ms;
}

/* Another epoch than ours: what of ours is above its base is lost. */
static uint64_t adopt(struct machine *m, const struct cluster_reply *r,
                      int64_t asked_ms) {
    uint64_t base = 0;
    if (!lineage_find(&m->lineage, m->epoch, &base)) base = 0;
    if (BROKEN(609)) base = r->seq;
    snprintf(m->epoch, sizeof m->epoch, "%s", r->epoch);
    if (m->pos > base) m->pos = base;
    m->known = r->seq;
    m->counts.epochs++;
    lead_end(m); /* the server may have forgotten it */
    recent_lose(&m->recent, base, owes_since(m, r, asked_ms));
    publishes_lose(m, base);
    m->ops->epoch(m->owner, base);
    warm_all_again(
        m); /* which newest values a lost one has replaced is known to the server */
    return base;
}

static void begin(struct machine *m, const struct cluster_reply *r) {
    snprintf(m->epoch, sizeof m->epoch, "%s", r->epoch);
    m->pos = m->known = r->seq;
    m->ops->epoch(m->owner, UINT64_MAX);
}

static void join(struct machine *m, const struct cluster_reply *r, int64_t asked_ms) {
    uint64_t base = m->pos;
    bool ours = strcmp(m->epoch, r->epoch) == 0;
    m->counts.joins++;
    m->joined = r->seq;
    m->fed_ms = m->beat_ms = m->joined_ms = m->now_ms;
    snprintf(m->fence, sizeof m->fence, "%s", r->fence);
    lineage_read(&m->lineage, r->lineage);
    m->mark = r->mark;
    turn(m, MACHINE_CATCHING_UP);
    m->resolving = !list_empty(&m->doubt);
    if (!*m->epoch) begin(m, r);
    else if (!ours) base = adopt(m, r, asked_ms);
    snprintf(m->replid, sizeof m->replid, "%s", r->replid);
    if (BROKEN(604)) publishes_settle(m, false);
    if (!ours && base == 0 && m->pos < r->seq) follow_land(m, r->seq);
    else m->ops->follow(m->owner, m->pos);
    if (r->reaped) m->ops->reaped(m->owner);
    machine_moved(m);
}

void machine_moved(struct machine *m) {
    if (m->state == MACHINE_CATCHING_UP && m->pos >= m->joined) turn(m, MACHINE_LIVE);
    publishes_settle(m, false);
    warm_show(m);
    mark(m);
    warm_ask(m);
    pages_ask(m);
    publishes_flush(m);
    publishes_keep(m);
    if (m->wanted_beat > m->beats) machine_beat(m);
}

/* ---- Answers -------------------------------------------------------------------------- */

static void heard(struct machine *m, const struct machine_sent *sent,
                  const struct cluster_reply *r) {
    m->heard = m->beats;
    if (r->seq > m->known) m->known = r->seq;
    if (r->mark > m->mark) m->mark = r->mark;
    lead_heard(m, sent, r);
    if (m->jump > 0 && m->heard >= m->jump) follow_land(m, r->seq);
    m->ops->changed(m->owner);
}

static void accept(struct machine *m, const struct machine_sent *sent,
                   const struct cluster_reply *r) {
    switch (sent->kind) {
    case CALL_JOIN: join(m, r, sent->at_ms); break;
    case CALL_PUBLISH: publishes_number(m, sent, r); break;
    case CALL_KEEP: publishes_kept(m, 0); break;
    case CALL_LOAD: warm_loaded(m, sent, r); break;
    case CALL_PAGE: pages_read(m, sent, r); break;
    case CALL_MARK:
        m->marking = false;
        m->mark_ms = 0;
        recent_paid(&m->recent);
        break;
    case CALL_BEAT:
        m->beating = false;
        heard(m, sent, r);
        break;
    }
}

/* What cannot be done now, and is tried again in its time. */
static void refuse(struct machine *m, const struct machine_sent *sent,
                   const struct cluster_reply *r) {
    bool again =
        sent->kind == CALL_JOIN || sent->kind == CALL_LOAD || sent->kind == CALL_PAGE;
    if (r->refused == REFUSED_LINEAGE || again) machine_rejoin(m);
    else if (sent->kind == CALL_PUBLISH) publishes_number(m, sent, r);
    else if (sent->kind == CALL_KEEP) publishes_kept(m, E_STORE);
    else if (sent->kind == CALL_MARK) m->marking = false;
    else m->beating = false;
}

bool machine_believes(const struct machine *m, unsigned tag,
                      const struct cluster_reply *r) {
    const struct machine_sent *sent = &m->sent[tag];
    uint64_t above = sent->known;
    bool is_ours = sent->kind == CALL_JOIN && strcmp(r->epoch, m->epoch) == 0;
    if (sent->kind == CALL_BEAT || is_ours) return r->seq >= above;
    for (unsigned i = 0; sent->kind == CALL_PUBLISH && i < sent->n; i++) {
        const struct cluster_number *n = &r->numbers[i];
        if (n->repeats || n->deposed || n->unmet) continue;
        if (n->seq <= above) return false;
        above = n->seq;
    }
    return true;
}

void machine_reply(struct machine *m, unsigned tag, const struct cluster_reply *r) {
    assert(tag < CLUSTER_CALLS_MAX && m->sent[tag].used);
    struct machine_sent *sent = &m->sent[tag];
    m->n_sent--;
    sent->used = false; /* only a join calls before it returns, and that needs no more */
    if (r->refused) refuse(m, sent, r);
    else accept(m, sent, r);
    if (machine_is_joined(m)) machine_moved(m);
}

/* ---- Time ----------------------------------------------------------------------------- */

/* When the oldest call was made. */
static int64_t oldest(const struct machine *m) {
    int64_t at = INT64_MAX;
    for (unsigned i = 0; i < CLUSTER_CALLS_MAX; i++)
        if (m->sent[i].used && m->sent[i].at_ms < at) at = m->sent[i].at_ms;
    return at;
}

static bool is_silent(const struct machine *m) {
    int64_t since = m->now_ms - CLUSTER_SILENT_MS;
    if (m->state == MACHINE_AWAY) return m->now_ms - m->dial_ms >= CLUSTER_DIAL_MS;
    return oldest(m) <= since || (machine_is_joined(m) && m->fed_ms <= since);
}

/* Who slept for long cannot say what happened meanwhile: it joins again before anything it has
 * read goes out. */
void machine_clock(struct machine *m, int64_t now_ms) {
    bool slept = now_ms - m->now_ms >= CLUSTER_SILENT_MS;
    m->now_ms = now_ms;
    lead_tick(m);
    if (m->away_ms == 0 && m->state != MACHINE_LIVE) m->away_ms = now_ms;
    m->silent = m->dialled && !slept && is_silent(m);
    if (m->dialled && (slept || m->silent)) machine_rejoin(m);
    m->silent = false;
    if (!m->dialled && now_ms >= m->dial_ms) {
        m->dialled = true;
        m->dial_ms = now_ms;
        m->ops->dial(m->owner);
    }
    if (now_ms - m->beat_ms >= CLUSTER_BEAT_MS || lead_wants_beat(m)) machine_beat(m);
    publishes_tick(m);
}

static int64_t sooner(int64_t a, int64_t b) {
    return a < b ? a : b;
}

int64_t machine_next(const struct machine *m) {
    int64_t at = sooner(publishes_next(m), lead_next(m));
    if (m->state == MACHINE_AWAY)
        return sooner(at, m->dial_ms + (m->dialled ? CLUSTER_DIAL_MS : 0));
    if (m->n_sent > 0) at = sooner(at, oldest(m) + CLUSTER_SILENT_MS);
    if (!machine_is_joined(m)) return at;
    if (!m->beating) at = sooner(at, m->beat_ms + CLUSTER_BEAT_MS);
    return sooner(at, m->fed_ms + CLUSTER_SILENT_MS);
}

/* ---- Judging -------------------------------------------------------------------------- */

enum machine_verdict machine_judge(const struct machine *m, const char *epoch,
                                   uint64_t seq, bool asked, uint64_t *place) {
    uint64_t base, known = m->known > m->pos ? m->known : m->pos;
    *place = seq;
    if (strcmp(epoch, m->epoch) == 0) {
        if (seq < m->mark) return PLACE_FAILOVER;
        if (seq <= (BROKEN(607) ? m->pos : known)) return PLACE_OURS;
        return asked || BROKEN(607) ? PLACE_FUTURE : PLACE_ASK;
    }
    if (lineage_find(&m->lineage, epoch, &base)) {
        if (base < seq) *place = base;
        return PLACE_FAILOVER;
    }
    return asked || BROKEN(610) ? PLACE_EPOCH : PLACE_ASK;
}
