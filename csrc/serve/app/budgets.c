/* Meters; see budgets.h. */
#include "serve/app/budgets.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/mem.h"
#include "serve/app/server.h"

struct meter {
    struct map_node node;
    struct list by_use, over, changed;
    int64_t begun_ms, used_ms;
    int64_t step; /* the newest, counted from the beginning */
    uint64_t bytes[BUDGET_STEPS];
    bool is_over;
    uint32_t channel_n;
    char channel[];
};

static struct slice name_of(const struct meter *m) {
    return slice_of(m->channel, m->channel_n);
}

static struct slice meter_key(const struct map_node *node) {
    return name_of(container_of(node, const struct meter, node));
}

void budgets_init(struct budgets *b) {
    *b = (struct budgets){0};
    map_init(&b->meters, meter_key);
    list_init(&b->by_use);
    list_init(&b->over);
    list_init(&b->changed);
}

static struct meter *first_of(const struct list *by_use) {
    return container_of(by_use->next, struct meter, by_use);
}

static void free_meter(struct budgets *b, struct meter *m) {
    map_remove(&b->meters, &m->node);
    list_remove(&m->by_use);
    list_remove(&m->over);
    list_remove(&m->changed);
    mem_free(m);
}

void budgets_deinit(struct budgets *b) {
    while (!list_empty(&b->by_use)) free_meter(b, first_of(&b->by_use));
    map_deinit(&b->meters);
}

static uint64_t budget_of(const struct server *s, struct slice channel) {
    const struct chan *c = chans_find(&s->fan.chans, channel);
    return c ? c->policy->budget : policy_of(s->fan.chans.policies.set, channel).budget;
}

/* ---- One meter ---------------------------------------------------------------------- */

static struct meter *find(const struct budgets *b, struct slice channel) {
    struct map_node *node = map_get(&b->meters, channel);
    return node ? container_of(node, struct meter, node) : NULL;
}

/* Its steps begin with the first bytes: a minute of them is seen within a minute. */
static struct meter *make(struct budgets *b, struct slice channel, int64_t now_ms) {
    struct meter *m = mem_new(sizeof *m + channel.n);
    memcpy(m->channel, channel.p, channel.n);
    m->channel_n = (uint32_t)channel.n;
    m->begun_ms = now_ms;
    list_init(&m->by_use);
    list_init(&m->over);
    list_init(&m->changed);
    map_add(&b->meters, &m->node);
    return m;
}

/* What is older than the steps is forgotten. */
static void roll(struct meter *m, int64_t now_ms) {
    int64_t step = (now_ms - m->begun_ms) / BUDGET_STEP_MS;
    int64_t passed = step - m->step;
    for (int64_t i = 1; i <= passed && i <= BUDGET_STEPS; i++)
        m->bytes[(m->step + i) % BUDGET_STEPS] = 0;
    if (passed > 0) m->step = step;
}

static uint64_t sum_of(const struct meter *m) {
    uint64_t sum = 0;
    for (int i = 0; i < BUDGET_STEPS; i++) sum += m->bytes[i];
    return sum;
}

static void set_over(struct budgets *b, struct meter *m, bool over) {
    m->is_over = over;
    b->n_over += over ? 1 : -1u;
    list_remove(&m->over);
    if (over) list_add(&b->over, &m->over);
    list_remove(&m->changed);
    list_add(&b->changed, &m->changed);
}

/* ---- All of them -------------------------------------------------------------------- */

void budgets_add(struct server *s, struct slice channel, uint64_t bytes) {
    ASSERT_OWNER(&s->loop);
    struct budgets *b = &s->budgets;
    uint64_t budget = bytes > 0 ? budget_of(s, channel) : 0;
    if (budget == 0) return;
    int64_t now_ms = clock_ms();
    struct meter *m = find(b, channel);
    if (!m) m = make(b, channel, now_ms);
    roll(m, now_ms);
    m->bytes[m->step % BUDGET_STEPS] += bytes;
    m->used_ms = now_ms;
    list_remove(&m->by_use);
    list_add(&b->by_use, &m->by_use);
    if (m->is_over || sum_of(m) <= budget) return;
    set_over(b, m, true);
    groups_find(s, channel)->budget_alarms++;
}

void budgets_tell(struct server *s) {
    ASSERT_OWNER(&s->loop);
    struct budgets *b = &s->budgets;
    while (!list_empty(&b->changed)) {
        struct meter *m = container_of(b->changed.next, struct meter, changed);
        list_remove(&m->changed);
        struct budget_state state = {sum_of(m), budget_of(s, name_of(m)), m->is_over};
        if (s->events->on_budget) s->events->on_budget(s->context, name_of(m), &state);
    }
}

static bool is_clear(const struct server *s, const struct meter *m) {
    uint64_t budget = budget_of(s, name_of(m));
    return budget == 0 || (double)sum_of(m) <= (double)budget * BUDGET_CLEAR;
}

void budgets_look(struct server *s, int64_t now_ms) {
    ASSERT_OWNER(&s->loop);
    struct budgets *b = &s->budgets;
    for (struct list *l = b->over.next, *next; l != &b->over; l = next) {
        struct meter *m = container_of(l, struct meter, over);
        next = l->next;
        roll(m, now_ms);
        if (is_clear(s, m)) set_over(b, m, false);
    }
    budgets_tell(s);
    while (!list_empty(&b->by_use)) {
        struct meter *m = first_of(&b->by_use);
        int64_t idle_ms = now_ms - m->used_ms;
        if (m->is_over || idle_ms < BUDGET_STEPS * BUDGET_STEP_MS) break;
        free_meter(b, m);
    }
}

struct budget_state budgets_of(struct server *s, struct slice channel) {
    ASSERT_OWNER(&s->loop);
    struct budget_state state = {.budget = budget_of(s, channel)};
    struct meter *m = find(&s->budgets, channel);
    if (!m || state.budget == 0) return state;
    roll(m, clock_ms());
    state.bytes = sum_of(m);
    state.over = m->is_over;
    return state;
}

void budgets_measure(struct server *s) {
    ASSERT_OWNER(&s->loop);
    for (struct list *l = s->budgets.over.next; l != &s->budgets.over; l = l->next)
        groups_find(s, name_of(container_of(l, struct meter, over)))->over_budget++;
}
