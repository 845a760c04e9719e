/* What a node is answered: the answers of scripts, judged, to its machine; see node.h. */
#include "base/clock.h"
#include "base/status.h"
#include "cluster/node_inner.h"

#include <stdio.h>

/* ---- Refusals -------------------------------------------------------------------------- */

const char *node_refusal(enum script_answer answer) {
    static const char *const SENTENCES[] = {
        [SCRIPT_REPLICA] = "Redis is a replica now, or is loading its data",
        [SCRIPT_REPLID] = "Redis has taken over the data of another server",
        [SCRIPT_EPOCH] = "another node has begun a new epoch, or the keys of this "
                         "cluster were deleted",
        [SCRIPT_FENCE] = "Redis knows of a later connection of this node",
        [SCRIPT_BACK] = "Redis has lost events that this node has",
        [SCRIPT_EVICTED] = "Redis has deleted keys for want of memory: set "
                           "maxmemory-policy noeviction",
        [SCRIPT_NEWER] =
            "the keys of this cluster are of a newer version of Sluice: upgrade this "
            "node, or give --cluster-name another name",
        [SCRIPT_OLDER] =
            "the keys of this cluster are of an older version of Sluice, which wrote "
            "them otherwise: stop its nodes and delete the keys (doc/cluster.md#redis "
            "has the command), or give --cluster-name another name",
        [SCRIPT_OOM] = "Redis takes no events (OOM), because its memory is full: "
                       "publishers get EFULL. Raise its maxmemory, or give channels "
                       "shorter histories and ttls",
        [SCRIPT_NOREPLICAS] =
            "Redis takes no writes (NOREPLICAS), because fewer replicas follow it than "
            "min-replicas-to-write says: nothing can be published, and no node leads. "
            "Start a replica, or CONFIG SET min-replicas-to-write 0",
        [SCRIPT_MISCONF] =
            "Redis takes no writes (MISCONF), because it could not save its data to its "
            "disk: nothing can be published, and no node leads. Its log says why",
        [SCRIPT_NOSCRIPT] = "Redis has forgotten the scripts of this node",
        [SCRIPT_WRONGTYPE] = "a key of this cluster holds what no node has written: "
                             "delete it, or give --cluster-name another name",
        [SCRIPT_DENIED] = "the Redis user may not do any more what a node needs: "
                          "doc/cluster.md#redis has a line with all of it",
        [SCRIPT_FAILED] = "Redis could not run a script of this node",
        [SCRIPT_SENSELESS] = "what Redis answers makes no sense",
    };
    return SENTENCES[answer];
}

static enum cluster_refusal refusal_of(enum cluster_call_kind kind,
                                       enum script_answer answer) {
    if (answer == SCRIPT_OK) return REFUSED_NOT;
    if (answer == SCRIPT_NOREPLICAS || answer == SCRIPT_MISCONF) return REFUSED_WRITES;
    if (kind != CALL_PUBLISH) return REFUSED_LINEAGE;
    if (answer == SCRIPT_OOM) return REFUSED_FULL;
    return answer == SCRIPT_WRONGTYPE ? REFUSED_OTHER : REFUSED_LINEAGE;
}

/* Of those that its user can do nothing about but wait, the node goes on by itself. */
static bool needs_somebody(enum script_answer answer) {
    return answer == SCRIPT_NEWER || answer == SCRIPT_OLDER || answer == SCRIPT_DENIED ||
           answer == SCRIPT_WRONGTYPE;
}

static void tell(const struct node *n, enum script_answer answer, const struct reply *r,
                 bool refused) {
    char why[400];
    struct slice error = answer == SCRIPT_FAILED ? r->text : slice_of("", 0);
    snprintf(why, sizeof why, "%s%s%.*s", node_refusal(answer), error.n ? ": " : "",
             error.n < 200 ? (int)error.n : 200, error.p);
    n->calls->tell(n->owner, why, refused);
}

/* Redis takes no writes, or takes some again: its owner is told of each change. Beats need no memory. */
static void note_refusal(struct node *n, enum cluster_call_kind kind,
                         enum script_answer answer) {
    bool is_idle = answer == SCRIPT_NOREPLICAS || answer == SCRIPT_MISCONF;
    bool refuses = is_idle || answer == SCRIPT_OOM;
    bool takes = answer == SCRIPT_OK && kind != CALL_LOAD &&
                 (n->refusal != SCRIPT_OOM || kind == CALL_PUBLISH);
    if (answer == n->refusal || (!refuses && !takes)) return;
    n->refusal = answer;
    if (!n->calls->refuses) return;
    n->calls->refuses(n->owner, refuses ? node_refusal(answer) : "", !is_idle);
}

/* The answer to a call; what it means for the connection is told. */
static void give(struct node *n, unsigned tag, enum script_answer answer,
                 const struct reply *r, struct cluster_reply *reply) {
    enum cluster_call_kind kind = n->kinds[tag];
    if (answer == SCRIPT_OK && !machine_believes(&n->machine, tag, reply))
        answer = SCRIPT_SENSELESS;
    reply->refused = refusal_of(kind, answer);
    note_refusal(n, kind, answer);
    if (reply->refused == REFUSED_LINEAGE)
        tell(n, answer, r, kind == CALL_JOIN && needs_somebody(answer));
    machine_reply(&n->machine, tag, reply);
}

static void note_time(struct node *n, int64_t server_ms) {
    if (server_ms > 0) n->ahead_ms = server_ms - clock_boot_ms();
}

static void on_joined(struct node *n, unsigned tag, const struct reply *r) {
    struct script_joined joined = {0};
    enum script_answer answer = script_joined(r, &joined);
    struct cluster_reply reply = {.seq = joined.seq,
                                  .mark = joined.mark,
                                  .epoch = joined.epoch,
                                  .fence = joined.fence,
                                  .replid = joined.replid,
                                  .lineage = joined.lineage,
                                  .took = joined.took,
                                  .reaped = joined.reaped,
                                  .age_ms = joined.age_ms};
    if (answer == SCRIPT_OK && strlen(joined.epoch) != EPOCH_LENGTH)
        answer = SCRIPT_SENSELESS; /* not ours */
    if (answer == SCRIPT_OK) note_time(n, joined.now_ms);
    snprintf(n->began_by, sizeof n->began_by, "%.*s", (int)joined.by.n,
             joined.by.n ? joined.by.p : "");
    give(n, tag, answer, r, &reply);
}

/* Where a key was used before, the first one says what came of it. */
static void note_repeat(const struct node *n, uint64_t token,
                        const struct script_place *place) {
    const struct list *flight = &n->machine.flight;
    for (struct list *at = flight->next; at != flight; at = at->next) {
        struct node_publish *p = container_of(at, struct node_publish, publish.node);
        if (p->publish.token != token) continue;
        snprintf(p->epoch, sizeof p->epoch, "%s", place->epoch);
        p->crc = place->crc;
        return;
    }
}

static void on_published(struct node *n, unsigned tag, const struct reply *r) {
    struct script_place places[CLUSTER_BATCH_MAX];
    struct cluster_number numbers[CLUSTER_BATCH_MAX];
    uint32_t many = n->sizes[tag];
    enum script_answer answer = script_published(r, places, many);
    for (uint32_t i = 0; i < many && answer == SCRIPT_OK; i++) {
        numbers[i] = (struct cluster_number){places[i].seq, places[i].is_repeat,
                                             places[i].is_deposed, places[i].is_unmet};
        if (places[i].is_repeat)
            note_repeat(n, n->machine.sent[tag].tokens[i], &places[i]);
    }
    give(n, tag, answer, r, &(struct cluster_reply){.numbers = numbers});
}

static void on_loaded(struct node *n, unsigned tag, const struct reply *r) {
    struct loading *load = &n->loads[tag];
    struct cluster_loaded loaded[CLUSTER_LOAD_MAX];
    bool whole = false;
    enum script_answer answer = loading_take(load, r, &whole);
    if (answer == SCRIPT_OK && !whole) {
        struct script_proof proof = node_proof(n);
        struct buf command = {0};
        int err = loading_ask(load, &command, link_scripts(n->link), &proof);
        node_send(n, tag, &command, err);
        return;
    }
    for (uint32_t i = 0; i < load->n && answer == SCRIPT_OK; i++) {
        struct load_row *row = &load->rows[i];
        loaded[i] = (struct cluster_loaded){row->upto, row->fill->last, row->fill};
        row->fill = NULL;
    }
    loading_drop(load);
    give(n, tag, answer, r, &(struct cluster_reply){.loaded = loaded});
}

/* Its numbers rise from where it begins to where it ends. */
static bool makes_sense(const struct script_page *ask, const struct script_paged *page) {
    uint64_t above = page->above;
    for (uint32_t i = 0; i < page->history->n; i++) {
        struct entry e;
        if (entry_of_history(&page->history->items[i], &e) < 0 || e.seq <= above)
            return false;
        above = e.seq;
    }
    return page->history->n == 0 ? page->given <= ask->upto
                                 : above <= page->given && page->given <= ask->upto;
}

static void on_paged(struct node *n, unsigned tag, const struct reply *r) {
    const struct cluster_page *p = n->machine.sent[tag].page;
    struct script_paged page;
    enum script_answer answer = script_paged(r, &page);
    if (answer == SCRIPT_OK &&
        !makes_sense(&container_of(p, const struct node_page, page)->ask, &page))
        answer = SCRIPT_SENSELESS;
    give(n, tag, answer, r, &(struct cluster_reply){.page = &page});
}

/* What cannot be noted is taken for not there. */
static void note_nodes(struct node *n, const struct script_now *now) {
    struct slice rest = now->slots;
    snprintf(n->unlike, sizeof n->unlike, "%.*s", (int)now->unlike.n, now->unlike.p);
    n->nodes = now->nodes;
    n->marks.n = 0;
    while (rest.n >= CLUSTER_MARK_LENGTH &&
           buf_add(&n->marks, rest.p, CLUSTER_MARK_LENGTH) == 0) {
        const char *space = memchr(rest.p, ' ', rest.n);
        if (!space) return;
        rest = slice_of(space + 1, rest.n - (size_t)(space + 1 - rest.p));
    }
}

static void note_beat(struct node *n, const struct script_now *now) {
    n->figures.round_trip_us = clock_us() - n->beat_us;
    n->figures.reaped += now->reaped;
    note_nodes(n, now);
}

static void on_now(struct node *n, unsigned tag, const struct reply *r) {
    struct script_now now = {0};
    enum script_answer answer = script_now(r, &now);
    if (answer == SCRIPT_OK) note_time(n, now.now_ms);
    if (answer == SCRIPT_OK && n->kinds[tag] == CALL_BEAT) note_beat(n, &now);
    n->figures.evictions += answer == SCRIPT_EVICTED;
    give(n, tag, answer, r,
         &(struct cluster_reply){
             .seq = now.seq,
             .mark = now.mark,
             .lead = {slice_str(now.leader), now.lease, now.lease_ms}});
}

void node_on_script(struct node *n, unsigned tag, const struct reply *r) {
    switch (n->kinds[tag]) {
    case CALL_JOIN: on_joined(n, tag, r); break;
    case CALL_PUBLISH: on_published(n, tag, r); break;
    case CALL_LOAD: on_loaded(n, tag, r); break;
    case CALL_PAGE: on_paged(n, tag, r); break;
    case CALL_MARK:
    case CALL_BEAT: on_now(n, tag, r); break;
    case CALL_KEEP: break; /* on_kept */
    }
}

void node_on_kept(struct node *n, uint64_t tag, const struct reply *r) {
    struct script_now now;
    bool is_kept = script_waited(r) >= (n->durable.on_disk ? 1 : n->durable.replicas);
    if (tag == KEEP_WRITTEN) {
        enum script_answer answer = script_now(r, &now);
        n->keep_refused = refusal_of(CALL_KEEP, answer);
        if (n->keep_refused == REFUSED_LINEAGE) tell(n, answer, r, false);
        return;
    }
    struct cluster_reply reply = {.refused = n->keep_refused};
    if (!reply.refused && !is_kept) reply.refused = REFUSED_STORE;
    machine_reply(&n->machine, (unsigned)tag, &reply);
}
