/* Publishes: the queue, those on their way, those in doubt; see machine.h. Each list is in the
 * order of the tokens, and what is in doubt is older than what is on its way. */
#include "cluster/inner.h"

#include "base/status.h"

static struct cluster_publish *publish_of(const struct list *node) {
    return container_of(node, struct cluster_publish, node);
}

static void give_back(struct machine *m, struct cluster_publish *p, int err) {
    list_remove(&p->node);
    m->n_publishes--;
    m->publish_bytes -= p->bytes;
    if (err == 0) m->counts.published++;
    else if (err == E_TIMEOUT) m->counts.unknown++;
    else {
        m->counts.refused++;
        m->counts.busy += err == E_BUSY || err == E_AWAY || err == E_REFUSED;
        m->counts.full += err == E_MEMORY;
        m->counts.unkept += err == E_STORE;
    }
    m->ops->answer(m->owner, p, err);
}

/* What is durable is not done when it is there. */
static void answer(struct machine *m, struct cluster_publish *p, int err) {
    bool waits = err == 0 && p->durable && !PLANTED(660);
    if (waits && m->keep == KEEP_BY_CALL) {
        list_remove(&p->node);
        list_add(&m->unkept, &p->node);
    } else {
        give_back(m, p, waits && m->keep == KEEP_NOT ? E_STORE : err);
    }
}

static bool is_away(const struct machine *m) {
    return m->away_ms > 0 && m->now_ms - m->away_ms >= CLUSTER_PATIENCE_MS;
}

void machine_publish(struct machine *m, struct cluster_publish *p) {
    bool full = m->n_publishes >= CLUSTER_QUEUE_MAX ||
                m->publish_bytes + p->bytes > CLUSTER_QUEUE_BYTES;
    list_init(&p->node);
    p->token = ++m->token;
    p->seq = 0;
    p->repeats = p->blind = p->deposed = false;
    p->since_ms = m->now_ms;
    m->n_publishes++;
    m->publish_bytes += p->bytes;
    bool is_kept = !p->durable || m->keep != KEEP_NOT || !machine_is_joined(m);
    if (full || is_away(m) || !is_kept) {
        answer(m, p, full ? E_BUSY : is_kept ? E_AWAY : E_STORE);
        return;
    }
    list_add(&m->queue, &p->node);
}

/* ---- To the server, and its numbers ----------------------------------------------------- */

static void send_batch(struct machine *m) {
    struct cluster_publish *publishes[CLUSTER_BATCH_MAX] = {NULL};
    struct cluster_call call = {.kind = CALL_PUBLISH, .publishes = publishes};
    uint32_t bytes = 0;
    while (call.n < CLUSTER_BATCH_MAX && !list_empty(&m->queue)) {
        struct cluster_publish *p = publish_of(m->queue.next);
        if (call.n > 0 && bytes + p->bytes > CLUSTER_BATCH_BYTES) break;
        bytes += p->bytes;
        list_remove(&p->node);
        list_add(&m->flight, &p->node);
        publishes[call.n++] = p;
    }
    struct machine_sent *sent = machine_call(m, &call);
    for (unsigned i = 0; i < call.n; i++) sent->tokens[i] = publishes[i]->token;
    m->n_batches++;
}

/* Not before it is known what is to be sent again: that is older than the queue. */
static bool may_send(const struct machine *m) {
    return machine_is_joined(m) && !m->resolving && m->jump == 0 &&
           m->n_batches < CLUSTER_BATCHES && machine_has_room(m);
}

void publishes_flush(struct machine *m) {
    while (may_send(m) && !list_empty(&m->queue)) send_batch(m);
}

/* An empty one finds out, without anybody's event, whether there is memory again. */
void publishes_probe(struct machine *m) {
    if (m->full && m->n_batches == 0 && may_send(m)) send_batch(m);
}

void machine_flush(struct machine *m) {
    publishes_flush(m);
}

/* From 'at' on; NULL: it has its answer already. */
static struct cluster_publish *find(const struct list *in, const struct list *at,
                                    uint64_t token) {
    while (at != in && publish_of(at)->token < token) at = at->next;
    return at != in && publish_of(at)->token == token ? publish_of(at) : NULL;
}

static void number(struct machine *m, struct cluster_publish *p,
                   const struct cluster_number *given) {
    p->seq = given->seq;
    p->repeats = given->repeats;
    p->deposed = given->deposed;
    p->since_ms = m->now_ms;
    if (p->deposed || given->unmet) {
        answer(m, p, p->deposed ? E_BUSY : E_CONFLICT);
        return;
    }
    if (p->repeats || p->blind) {
        answer(m, p, 0);
        return;
    }
    if (!p->is_state)
        recent_note(&m->recent, p->channel, map_hash(p->channel), p->seq, m->now_ms);
    if (p->seq > m->known) m->known = p->seq;
}

static int status_of(enum cluster_refusal refused) {
    if (refused == REFUSED_FULL) return E_MEMORY;
    return refused == REFUSED_WRITES ? E_REFUSED : E_STORE;
}

void publishes_number(struct machine *m, const struct machine_sent *sent,
                      const struct cluster_reply *reply) {
    m->n_batches--;
    m->full = reply->refused == REFUSED_FULL;
    for (unsigned i = 0; i < sent->n; i++) {
        struct cluster_publish *p = find(&m->flight, m->flight.next, sent->tokens[i]);
        if (!p) continue;
        if (reply->refused) answer(m, p, status_of(reply->refused));
        else number(m, p, &reply->numbers[i]);
    }
}

void publishes_read(struct machine *m, uint64_t token, uint64_t seq) {
    struct cluster_publish *p = find(&m->flight, m->flight.next, token);
    if (!p) p = find(&m->doubt, m->doubt.next, token);
    if (!p) return;
    p->seq = seq;
    answer(m, p, 0);
}

/* ---- Keeping ---------------------------------------------------------------------------- */

void machine_keeps(struct machine *m, enum machine_keep how) {
    m->keep = how;
}

/* One call for all that is done by now: it waits for what came before it. */
void publishes_keep(struct machine *m) {
    if (list_empty(&m->unkept) || !list_empty(&m->keeping)) return;
    if (!machine_is_joined(m) || m->resolving || !machine_has_room(m)) return;
    list_take_all(&m->keeping, &m->unkept);
    machine_call(m, &(struct cluster_call){.kind = CALL_KEEP});
}

void publishes_kept(struct machine *m, int err) {
    while (!list_empty(&m->keeping)) give_back(m, publish_of(m->keeping.next), err);
}

/* ---- Doubt ------------------------------------------------------------------------------ */

void publishes_doubt(struct machine *m) {
    list_take_all(&m->doubt, &m->flight);
    list_take_all(&m->keeping, &m->unkept);
    list_take_all(&m->unkept, &m->keeping); /* in their order, asked for again */
}

static void blind_all(struct machine *m, struct list *in) {
    for (struct list *at = in->next, *next; at != in; at = next) {
        struct cluster_publish *p = publish_of(at);
        next = at->next;
        p->blind = true;
        if (p->seq > 0) answer(m, p, 0);
    }
}

void publishes_blind(struct machine *m) {
    if (BROKEN(613)) return;
    blind_all(m, &m->flight);
    blind_all(m, &m->doubt);
}

/* All that the connections before this join have stored was read, or passed over. */
void publishes_settle(struct machine *m, bool hole) {
    struct list again;
    bool blindly = BROKEN(604);
    if (!m->resolving || (m->pos < m->joined && !hole && !blindly)) return;
    list_init(&again);
    m->resolving = false;
    while (!list_empty(&m->doubt)) {
        struct cluster_publish *p = publish_of(m->doubt.next);
        if (p->blind && !blindly) {
            answer(m, p, E_TIMEOUT);
            continue;
        }
        list_remove(&p->node);
        list_add(&again, &p->node);
        m->counts.resent++;
    }
    list_take_all(&again, &m->queue);
    list_take_all(&m->queue, &again);
}

static void lose(struct list *in, uint64_t base) {
    for (struct list *at = in->next; at != in; at = at->next)
        if (publish_of(at)->seq > base) publish_of(at)->seq = 0;
}

/* What was read, and not kept: its readers are told that it is lost. */
static void lose_unkept(struct machine *m, uint64_t base) {
    for (struct list *at = m->unkept.next, *next; at != &m->unkept; at = next) {
        struct cluster_publish *p = publish_of(at);
        next = at->next;
        if (!p->repeats && p->seq > base) give_back(m, p, E_STORE);
    }
}

void publishes_lose(struct machine *m, uint64_t base) {
    lose(&m->flight, base);
    lose(&m->doubt, base);
    lose_unkept(m, base);
}

/* ---- Time ------------------------------------------------------------------------------- */

static void answer_all(struct machine *m, struct list *in, int err) {
    while (!list_empty(in)) {
        struct cluster_publish *p = publish_of(in->next);
        answer(m, p, p->seq > 0 ? 0 : err);
    }
}

/* It has its number, and is read when the feed has come so far. */
static bool is_late(const struct machine *m, const struct list *at) {
    const struct cluster_publish *p = publish_of(at);
    return p->seq > 0 && m->now_ms - p->since_ms >= CLUSTER_READ_BACK_MS;
}

void publishes_tick(struct machine *m) {
    while (!list_empty(&m->flight) && is_late(m, m->flight.next))
        answer(m, publish_of(m->flight.next), 0);
    if (!is_away(m)) return;
    answer_all(m, &m->doubt, E_TIMEOUT); /* they came before the others */
    answer_all(m, &m->queue, E_AWAY);
    while (!list_empty(&m->unkept)) give_back(m, publish_of(m->unkept.next), E_TIMEOUT);
    m->resolving = false;
}

int64_t publishes_next(const struct machine *m) {
    bool waits =
        !list_empty(&m->queue) || !list_empty(&m->doubt) || !list_empty(&m->unkept);
    if (m->away_ms > 0 && waits) return m->away_ms + CLUSTER_PATIENCE_MS;
    if (list_empty(&m->flight) || publish_of(m->flight.next)->seq == 0) return INT64_MAX;
    return publish_of(m->flight.next)->since_ms + CLUSTER_READ_BACK_MS;
}
