/* Channels that somebody here follows: loaded, held, shown; see machine.h. */
#include "cluster/inner.h"

#include "base/mem.h"

static struct warm *warm_of(const struct list *at) {
    return container_of(at, struct warm, list);
}

static struct slice name_of(const struct warm *w) {
    return slice_of(w->name, w->n);
}

struct warm *warm_find(const struct machine *m, struct slice channel, uint64_t hash) {
    struct map_node *node = m->warm.n ? map_get_hashed(&m->warm, channel, hash) : NULL;
    return node ? container_of(node, struct warm, node) : NULL;
}

static void become(struct warm *w, enum warm_state state, struct list *in) {
    list_remove(&w->list);
    w->state = state;
    if (in) list_add(in, &w->list);
}

static bool is_unloaded(const struct warm *w) {
    return w->state == WARM_WANTED || w->state == WARM_ASKED;
}

bool machine_is_warm(const struct machine *m, struct slice channel) {
    const struct warm *w = warm_find(m, channel, map_hash(channel));
    return w && w->state == WARM_SHOWN;
}

bool machine_warm(struct machine *m, struct slice channel) {
    struct warm *w = warm_find(m, channel, map_hash(channel));
    if (w) return w->state == WARM_SHOWN;
    w = mem_new(sizeof *w + channel.n);
    w->n = channel.n;
    memcpy(w->name, channel.p, channel.n);
    list_init(&w->list);
    map_add(&m->warm, &w->node);
    become(w, WARM_WANTED, &m->wanted);
    warm_ask(m);
    return false;
}

static void drop_fill(struct machine *m, struct warm *w) {
    if (w->fill) m->ops->drop(m->owner, w->fill);
    w->fill = NULL;
}

/* Its answer finds nobody. */
static void forget_sent(struct machine *m, const struct warm *w) {
    for (unsigned i = 0; i < CLUSTER_CALLS_MAX; i++) {
        struct machine_sent *sent = &m->sent[i];
        if (!sent->used || sent->kind != CALL_LOAD) continue;
        for (unsigned k = 0; k < sent->n; k++)
            if (sent->warm[k] == w) sent->warm[k] = NULL;
    }
}

static void let_go(struct machine *m, struct warm *w) {
    if (w->whole && is_unloaded(w)) m->n_whole--;
    forget_sent(m, w);
    drop_fill(m, w);
    list_remove(&w->list);
    map_remove(&m->warm, &w->node);
    mem_free(w);
}

void machine_cool(struct machine *m, struct slice channel) {
    struct warm *w = warm_find(m, channel, map_hash(channel));
    if (!w) return;
    let_go(m, w);
    warm_show(m);
}

void warm_drop_all(struct machine *m) {
    for (struct map_node *at = map_next(&m->warm, NULL), *next; at; at = next) {
        next = map_next(&m->warm, at);
        let_go(m, container_of(at, struct warm, node));
    }
}

/* ---- Loading ---------------------------------------------------------------------------- */

static void send_load(struct machine *m) {
    struct slice channels[CLUSTER_LOAD_MAX];
    struct warm *warm[CLUSTER_LOAD_MAX] = {NULL};
    struct cluster_call call = {.kind = CALL_LOAD, .channels = channels};
    while (call.n < CLUSTER_LOAD_MAX && !list_empty(&m->wanted)) {
        struct warm *w = warm_of(m->wanted.next);
        become(w, WARM_ASKED, &m->asked);
        channels[call.n] = name_of(w);
        warm[call.n++] = w;
    }
    struct machine_sent *sent = machine_call(m, &call);
    memcpy(sent->warm, warm, call.n * sizeof *warm);
    m->n_loads++;
    m->counts.loads += call.n;
}

void warm_ask(struct machine *m) {
    while (machine_is_joined(m) && m->jump == 0 && !list_empty(&m->wanted) &&
           m->n_loads < CLUSTER_LOADS && machine_has_room(m))
        send_load(m);
}

static void hold(struct machine *m, struct warm *w, const struct cluster_loaded *loaded) {
    w->fill = loaded->fill;
    w->last = loaded->last;
    w->chained = true;
    w->upto = loaded->upto;
    become(w, WARM_HELD, &m->held);
    if (!w->whole) return;
    m->n_whole--;
    if (w->upto > m->hold) m->hold = w->upto;
}

void warm_loaded(struct machine *m, const struct machine_sent *sent,
                 const struct cluster_reply *reply) {
    m->n_loads--;
    for (unsigned i = 0; i < sent->n; i++) {
        struct warm *w = sent->warm[i];
        bool is_void = sent->era != m->era && !PLANTED(620);
        if (w && !is_void && w->state == WARM_ASKED) hold(m, w, &reply->loaded[i]);
        else if (reply->loaded[i].fill) m->ops->drop(m->owner, reply->loaded[i].fill);
    }
}

/* ---- Again ------------------------------------------------------------------------------ */

void warm_again(struct machine *m, struct warm *w, bool lost) {
    if (w->whole && w->state == WARM_HELD) m->n_whole++;
    drop_fill(m, w);
    w->lost = w->lost || lost;
    become(w, WARM_WANTED, &m->wanted);
}

static void again_all(struct machine *m, struct list *in) {
    while (!list_empty(in)) warm_again(m, warm_of(in->next), false);
}

void warm_broken(struct machine *m) {
    again_all(m, &m->asked);
}

/* Readers of several channels are sent one merge by number: the parts of it come together. */
void warm_all_again(struct machine *m) {
    m->era++;
    for (struct map_node *at = NULL; (at = map_next(&m->warm, at));) {
        struct warm *w = container_of(at, struct warm, node);
        w->whole = !PLANTED(619);
        if (!is_unloaded(w) || w->state == WARM_ASKED) warm_again(m, w, false);
    }
    m->whole = m->warm.n > 0 && !PLANTED(619);
    m->n_whole = m->whole ? (unsigned)m->warm.n : 0;
    m->hold = 0;
}

bool machine_reload(struct machine *m) {
    warm_all_again(m);
    warm_ask(m);
    return m->warm.n > 0;
}

/* ---- Showing ---------------------------------------------------------------------------- */

static void show(struct machine *m, struct warm *w, bool more) {
    void *fill = w->fill;
    bool lost = w->lost;
    w->fill = NULL;
    w->lost = w->whole = false;
    become(w, WARM_SHOWN, NULL);
    m->ops->fill(m->owner, name_of(w), fill, lost, more);
}

static void show_whole(struct machine *m) {
    unsigned n = 0;
    m->whole = false;
    for (struct list *at = m->held.next; at != &m->held; at = at->next)
        n += warm_of(at)->whole;
    for (struct list *at = m->held.next, *next; at != &m->held; at = next) {
        next = at->next;
        if (warm_of(at)->whole) show(m, warm_of(at), --n > 0);
    }
}

void warm_show(struct machine *m) {
    bool early = BROKEN(608);
    if (m->whole) {
        if ((m->n_whole > 0 || m->pos < m->hold) && !early) return;
        show_whole(m);
    }
    for (struct list *at = m->held.next, *next; at != &m->held; at = next) {
        next = at->next;
        if (warm_of(at)->upto <= m->pos || early) show(m, warm_of(at), false);
    }
}
