/* Merging rules; see policy.h. A set has tens of rules and is asked once per channel
 * and thread, so a walk over all of them is enough. */
#include "fan/policy.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/pattern.h"

#include <stdatomic.h>
#include <stdlib.h>

struct policy_set {
    atomic_uint refs;
    uint32_t n;
    struct policy_rule rules[]; /* least specific first */
};

struct ordered {
    const struct policy_rule *rule;
    unsigned weight;
    uint32_t order;
};

static int compare(const void *a, const void *b) {
    const struct ordered *x = a, *y = b;
    if (x->weight != y->weight) return x->weight < y->weight ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

struct policy_set *policy_set_new(const struct policy_rule *rules, uint32_t n) {
    struct policy_set *set = mem_new(sizeof *set + n * sizeof *rules);
    struct ordered *order = mem_new((n + 1) * sizeof *order);
    atomic_init(&set->refs, 1);
    set->n = n;
    for (uint32_t i = 0; i < n; i++)
        order[i] =
            (struct ordered){&rules[i], pattern_weight(slice_str(rules[i].pattern)), i};
    if (n > 0) qsort(order, n, sizeof *order, compare);
    for (uint32_t i = 0; i < n; i++) {
        const struct policy_rule *from = order[i].rule;
        set->rules[i] = *from;
        set->rules[i].pattern = mem_strndup(from->pattern, strlen(from->pattern));
        set->rules[i].key = from->key ? mem_strndup(from->key, strlen(from->key)) : NULL;
    }
    mem_free(order);
    return set;
}

struct policy_set *policy_set_ref(struct policy_set *set) {
    atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    return set;
}

void policy_set_unref(struct policy_set *set) {
    if (!set || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (uint32_t i = 0; i < set->n; i++) {
        mem_free(set->rules[i].pattern);
        mem_free(set->rules[i].key);
    }
    mem_free(set);
}

bool policy_set_has(const struct policy_set *set, struct slice pattern) {
    for (uint32_t i = 0; set && i < set->n; i++)
        if (slice_eq(slice_str(set->rules[i].pattern), pattern)) return true;
    return false;
}

static bool has_all(const struct policy_set *set, const struct policy_set *patterns) {
    for (uint32_t i = 0; patterns && i < patterns->n; i++)
        if (!policy_set_has(set, slice_str(patterns->rules[i].pattern))) return false;
    return true;
}

bool policy_same_patterns(const struct policy_set *a, const struct policy_set *b) {
    return has_all(a, b) && has_all(b, a);
}

static bool same_rule(const struct policy_rule *a, const struct policy_rule *b) {
    const struct policy *x = &a->values, *y = &b->values;
    return a->set == b->set && strcmp(a->pattern, b->pattern) == 0 &&
           x->latest == y->latest && x->durable == y->durable &&
           x->history == y->history && x->history_bytes == y->history_bytes &&
           x->ttl_ms == y->ttl_ms && x->max_keys == y->max_keys && x->rewind == y->rewind;
}

bool policy_same_kept(const struct policy_set *a, const struct policy_set *b) {
    uint32_t n = policy_set_count(a);
    if (n != policy_set_count(b)) return false;
    for (uint32_t i = 0; i < n; i++)
        if (!same_rule(&a->rules[i], &b->rules[i])) return false;
    return true;
}

uint32_t policy_set_count(const struct policy_set *set) {
    return set ? set->n : 0;
}

struct slice policy_set_pattern(const struct policy_set *set, uint32_t i) {
    return slice_str(set->rules[i].pattern);
}

static void apply(struct policy *p, const struct policy_rule *rule) {
    const struct policy *v = &rule->values;
    if (rule->set & POLICY_HISTORY) {
        p->latest = v->latest;
        p->history = v->history;
        p->history_bytes = 0;
    }
    if (rule->set & POLICY_BYTES) p->history_bytes = v->history_bytes;
    if (rule->set & POLICY_TTL) p->ttl_ms = v->ttl_ms;
    if (rule->set & POLICY_KEY) p->key = slice_str(rule->key);
    if (rule->set & POLICY_MAX_KEYS) p->max_keys = v->max_keys;
    if (rule->set & POLICY_REWIND) p->rewind = v->rewind;
    if (rule->set & POLICY_SLOW) p->slow = v->slow;
    if (rule->set & POLICY_MAX_RATE) p->period_ms = v->period_ms;
    if (rule->set & POLICY_BATCH) p->batch_ms = v->batch_ms;
    if (rule->set & POLICY_DURABLE) p->durable = v->durable;
    if (rule->set & POLICY_BUDGET) p->budget = v->budget;
    if (rule->set & POLICY_SHARED) p->local = v->local;
    p->reads = p->reads || v->reads;
    p->pattern = slice_str(rule->pattern);
}

struct policy policy_of(const struct policy_set *set, struct slice channel) {
    struct policy p = {.history = HISTORY_EVENTS_DEFAULT,
                       .ttl_ms = TTL_DEFAULT_MS,
                       .max_keys = KEYS_MAX_DEFAULT,
                       .pattern = slice_of("", 0)};
    struct capture captures[PATTERN_CAPTURES_MAX];
    unsigned given = 0;
    for (uint32_t i = 0; set && i < set->n; i++) {
        if (pattern_match(slice_str(set->rules[i].pattern), channel, captures) < 0)
            continue;
        apply(&p, &set->rules[i]);
        p.rule = i + 1;
        given |= set->rules[i].set;
    }
    if (p.durable && !(given & POLICY_TTL))
        p.ttl_ms = 0; /* what is on a disk need not age */
    if (p.durable || policy_kind(&p) == CHANNEL_KEYED)
        p.local =
            false; /* of three patterns: two of them do not load (app/channels.lua) */
    return p;
}

struct shared_policy {
    struct shared_policy *next;
    struct policy policy;
};

/* Texts of one set: the same text is at the same place. */
static bool same_text(struct slice a, struct slice b) {
    return a.p == b.p && a.n == b.n;
}

static bool is_same(const struct policy *a, const struct policy *b) {
    return a->rule == b->rule && same_text(a->pattern, b->pattern) &&
           same_text(a->key, b->key) && a->latest == b->latest &&
           a->durable == b->durable && a->in_redis == b->in_redis &&
           a->local == b->local && a->reads == b->reads && a->slow == b->slow &&
           a->history == b->history && a->held == b->held &&
           a->history_bytes == b->history_bytes && a->ttl_ms == b->ttl_ms &&
           a->period_ms == b->period_ms && a->batch_ms == b->batch_ms &&
           a->max_keys == b->max_keys && a->rewind == b->rewind && a->budget == b->budget;
}

const struct policy *policy_table_share(struct policy_table *all,
                                        const struct policy *p) {
    struct shared_policy *shared = all->shared;
    while (shared && !is_same(&shared->policy, p)) shared = shared->next;
    if (shared) return &shared->policy;
    shared = mem_new(sizeof *shared);
    *shared = (struct shared_policy){.next = all->shared, .policy = *p};
    all->shared = shared;
    return &shared->policy;
}

void policy_table_deinit(struct policy_table *all) {
    while (all->shared) {
        struct shared_policy *first = all->shared;
        all->shared = first->next;
        mem_free(first);
    }
    policy_set_unref(all->set);
    all->set = NULL;
}

enum channel_kind policy_kind(const struct policy *p) {
    if (p->latest) return CHANNEL_STATE;
    return p->rewind == REWIND_LATEST ? CHANNEL_KEYED : CHANNEL_LOG;
}

bool policy_is_paged(const struct policy *p) {
    enum channel_kind kind = policy_kind(p);
    return p->durable && kind != CHANNEL_STATE &&
           (p->history > 0 || kind == CHANNEL_KEYED);
}

uint32_t policy_period(const struct policy *p) {
    bool rated = policy_kind(p) == CHANNEL_STATE && p->period_ms > p->batch_ms;
    return rated ? p->period_ms : p->batch_ms;
}
