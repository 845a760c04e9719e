/* Growing lists; see conversion.h. */
#include "serve/conversion.h"

#include "base/mem.h"
#include "base/status.h"

struct conversion *conversion_new(struct policy_set *policies) {
    struct conversion *c = mem_new(sizeof *c);
    atomic_init(&c->refs, 1);
    c->brings.policies = policy_set_ref(policies);
    uint32_t n = policy_set_count(policies);
    c->brings.floors = c->floors = mem_new((n + 1) * sizeof *c->floors);
    return c;
}

struct conversion *conversion_ref(struct conversion *c) {
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void conversion_unref(struct conversion *c) {
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1) return;
    for (uint32_t i = 0; i < c->brings.n_keyed; i++) mem_free((char *)c->keyed[i].p);
    for (uint32_t i = 0; i < c->brings.n_newest; i++) frame_unref(c->newest[i]);
    mem_free(c->floors);
    mem_free(c->keyed);
    mem_free(c->newest);
    policy_set_unref(c->brings.policies);
    mem_free(c);
}

void conversion_add_floor(struct conversion *c, struct slice pattern, uint64_t floor) {
    c->floors[c->brings.n_floors++] = (struct fan_floor){pattern, floor};
}

void conversion_add_keyed(struct conversion *c, struct slice channel) {
    uint32_t n = c->brings.n_keyed;
    if (n == c->cap_keyed) {
        struct slice *old = c->keyed;
        c->cap_keyed = n ? 2 * n : 4;
        c->keyed = mem_new(c->cap_keyed * sizeof *old);
        if (n > 0) memcpy(c->keyed, old, n * sizeof *old);
        mem_free(old);
    }
    c->keyed[n] = slice_of(mem_strndup(channel.p, channel.n), channel.n);
    c->brings.keyed = c->keyed;
    c->brings.n_keyed++;
}

int conversion_add_newest(struct conversion *c, struct frame *f) {
    uint32_t n = c->brings.n_newest;
    if (n == c->cap_newest) {
        uint32_t cap = n ? 2 * n : 64;
        struct frame **newest = mem_resize(c->newest, cap * sizeof *newest);
        if (!newest) {
            frame_unref(f);
            return E_NOMEM;
        }
        c->newest = newest;
        c->cap_newest = cap;
    }
    c->newest[n] = f;
    c->brings.newest = c->newest;
    c->brings.n_newest++;
    return 0;
}
