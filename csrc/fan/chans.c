/* The table, the floors and what goes; see chans.h. */
#include "fan/chans.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/pattern.h"
#include "base/planted.h"
#include "base/status.h"

static struct slice key_of(const struct map_node *node) {
    return chan_name(container_of(node, const struct chan, node));
}

void chans_init(struct chans *cs) {
    *cs = (struct chans){.held = HELD_EVENTS_MAX};
    map_init(&cs->map, key_of);
    pools_init(&cs->pools);
}

void chans_deinit(struct chans *cs) {
    for (struct chan *c; (c = chans_next(cs, NULL));) {
        map_remove(&cs->map, &c->node);
        chan_free(&cs->pools, c);
    }
    map_deinit(&cs->map);
    pools_deinit(&cs->pools);
    for (uint32_t i = 0; i < cs->n_floors; i++) mem_free(cs->floors[i].pattern);
    mem_free(cs->floors);
    policy_table_deinit(&cs->policies);
}

static struct chan *find_hashed(const struct chans *cs, struct slice name,
                                uint64_t hash) {
    struct map_node *node = map_get_hashed(&cs->map, name, hash);
    return node ? container_of(node, struct chan, node) : NULL;
}

struct chan *chans_find(const struct chans *cs, struct slice name) {
    return find_hashed(cs, name, map_hash(name));
}

struct chan *chans_find_of(const struct chans *cs, const struct frame *f) {
    return find_hashed(cs, f->channel, f->channel_hash);
}

const struct policy *chans_policy(struct chans *cs, struct slice name) {
    struct policy policy = policy_of(cs->policies.set, name);
    policy.held = cs->held;
    policy.in_redis = cs->in_redis;
    return policy_table_share(&cs->policies, &policy);
}

bool chans_is_local(const struct chans *cs, struct slice name) {
    const struct chan *c = chans_find(cs, name);
    return c ? c->policy->local : policy_of(cs->policies.set, name).local;
}

static struct chan *make(struct chans *cs, struct slice name) {
    struct chan *c = chan_new(&cs->pools, name, chans_policy(cs, name));
    map_add(&cs->map, &c->node);
    return c;
}

int chans_get(struct chans *cs, struct slice name, struct chan **out) {
    return chans_get_hashed(cs, name, map_hash(name), out);
}

int chans_get_hashed(struct chans *cs, struct slice name, uint64_t hash,
                     struct chan **out) {
    *out = find_hashed(cs, name, hash);
    if (*out) return 0;
    if (pattern_check_channel(name)) return E_CHANNEL;
    if (cs->map.n >= CHANNELS_MAX) return E_FULL;
    *out = make(cs, name);
    return 0;
}

struct chan *chans_next(const struct chans *cs, struct chan *c) {
    struct map_node *node = map_next(&cs->map, c ? &c->node : NULL);
    return node ? container_of(node, struct chan, node) : NULL;
}

/* ---- Floors ------------------------------------------------------------------------- */

static const struct chans_floor *find_floor(const struct chans *cs,
                                            struct slice pattern) {
    for (uint32_t i = 0; i < cs->n_floors; i++)
        if (slice_eq(slice_str(cs->floors[i].pattern), pattern)) return &cs->floors[i];
    return NULL;
}

/* The floor of a channel that had no event yet. */
static uint64_t floor_left(const struct chans *cs, const struct chan *c) {
    const struct chans_floor *left = find_floor(cs, c->policy->pattern);
    uint64_t floor = left ? left->floor : cs->any_floor;
    bool stored = c->policy->durable && left && left->is_stored;
    if (c->kind == CHANNEL_STATE || stored || PLANTED(30)) return floor;
    return cs->first > floor ? cs->first : floor;
}

uint64_t chans_floor(const struct chans *cs, const struct chan *c) {
    return c->known || PLANTED(7) ? c->kept->floor : floor_left(cs, c);
}

/* Where that floor is from. */
static enum lost_by left_by(const struct chans *cs, const struct chan *c) {
    const struct chans_floor *left = find_floor(cs, c->policy->pattern);
    if (left && left->is_stored) return LOST_STORED;
    return left || !cs->any_by_reload ? LOST_FORGOTTEN : LOST_RELOAD;
}

enum lost_by chans_lost_by(const struct chans *cs, const struct chan *c, uint64_t at) {
    return c->known ? losses_find(c->kept->losses, at, LOST_UNKNOWN) : left_by(cs, c);
}

/* It has a floor of its own from now on. */
static void give_floor(const struct chans *cs, struct chan *c) {
    struct kept *k = chan_keep(c);
    k->floor = floor_left(cs, c);
    if (k->floor > 0) losses_note(&k->losses, left_by(cs, c), k->floor);
}

struct chan *chans_of_frame(struct chans *cs, const struct frame *f) {
    struct chan *c = find_hashed(cs, f->channel, f->channel_hash);
    if (!c) c = make(cs, f->channel);
    if (!c->known && !f->local) give_floor(cs, c);
    c->known = true;
    return c;
}

/* Whether a store goes on knowing the channels of a pattern when these policies come. */
static bool stays_stored(const struct chans_floor *f, const struct policy_set *set) {
    struct slice pattern = slice_str(f->pattern);
    return f->is_stored && policy_set_has(set, pattern) &&
           policy_of(set, pattern).durable;
}

/* Whether channels of a memory pattern, which lost all with the last run, fall to other patterns
 * now: a store that knows those for longer knows nothing of it. */
static bool frees_memory(const struct chans *cs, const struct policy_set *set) {
    for (uint32_t i = 0; i < policy_set_count(cs->policies.set); i++) {
        struct slice pattern = policy_set_pattern(cs->policies.set, i);
        struct policy was = policy_of(cs->policies.set, pattern);
        bool log = !was.durable && policy_kind(&was) != CHANNEL_STATE;
        if (log && !policy_set_has(set, pattern)) return true;
    }
    return false;
}

static uint64_t shared_floor(const struct chans *cs, const struct policy_set *set) {
    uint64_t any = cs->any_floor;
    if (cs->first > any && frees_memory(cs, set) && !PLANTED(43)) any = cs->first;
    for (uint32_t i = 0; i < cs->n_floors; i++)
        if (!stays_stored(&cs->floors[i], set) && cs->floors[i].floor > any)
            any = cs->floors[i].floor;
    return any;
}

/* With other patterns it is unknown which one a dropped channel belongs to now: what they
 * left behind holds for all. */
static void share_floors(struct chans *cs, const struct policy_set *set) {
    uint32_t n = 0;
    uint64_t any = shared_floor(cs, set);
    cs->any_by_reload = cs->any_by_reload || any > cs->any_floor;
    cs->any_floor = any;
    for (uint32_t i = 0; i < cs->n_floors; i++) {
        struct chans_floor f = cs->floors[i];
        if (!stays_stored(&f, set)) {
            mem_free(f.pattern);
            continue;
        }
        if (cs->any_floor > f.floor) f.floor = cs->any_floor;
        cs->floors[n++] = f;
    }
    cs->n_floors = n;
}

uint64_t chans_floor_with(const struct chans *cs, const struct policy_set *set,
                          struct slice pattern) {
    bool same = policy_same_patterns(cs->policies.set, set);
    const struct chans_floor *left = pattern.n > 0 ? find_floor(cs, pattern) : NULL;
    bool durable = left && policy_of(cs->policies.set, pattern).durable;
    uint64_t floor = same && left ? left->floor : shared_floor(cs, set);
    if (left && left->floor > floor) floor = left->floor;
    if (durable && left->is_stored) return floor;
    return cs->first > floor ? cs->first : floor;
}

static void fold_floor(struct chans *cs, struct slice pattern, uint64_t floor,
                       bool is_stored) {
    uint32_t i = 0;
    while (i < cs->n_floors && !slice_eq(slice_str(cs->floors[i].pattern), pattern)) i++;
    if (i == cs->n_floors) {
        struct chans_floor *floors = NULL;
        if (i < META_FLOORS_MAX)
            floors = mem_resize(cs->floors, (i + 1) * sizeof *floors);
        if (!floors) { /* too many policies share one floor: rather a needless reset than a loss */
            if (floor > cs->any_floor) cs->any_floor = floor;
            return;
        }
        cs->floors = floors;
        cs->floors[i].pattern = mem_strndup(pattern.p, pattern.n);
        cs->floors[i].floor = cs->any_floor;
        cs->floors[i].is_stored = false;
        cs->n_floors++;
    }
    if (floor > cs->floors[i].floor) cs->floors[i].floor = floor;
    if (is_stored) cs->floors[i].is_stored = true;
}

void chans_restore_floor(struct chans *cs, struct slice pattern, uint64_t floor) {
    fold_floor(cs, pattern, floor, true);
}

void chans_leave(struct chans *cs, const struct chan *c, const struct policy *policy) {
    const struct kept *k = c->kept;
    bool has_ids = !c->policy->local && c->kind != CHANNEL_STATE;
    uint64_t floor = has_ids && k->last > k->floor ? k->last : k->floor;
    if (c->known && floor > 0 && !PLANTED(673))
        fold_floor(cs, policy->pattern, floor, false);
}

/* ---- Going -------------------------------------------------------------------------- */

void chans_release(struct chans *cs, struct chan *c) {
    if (c->known || c->n_subs > 0) return;
    map_remove(&cs->map, &c->node);
    chan_free(&cs->pools, c);
}

void chans_drop(struct chans *cs, struct chan *c) {
    bool is_kept = chan_is_paged(c) && c->kept->floor < c->kept->last;
    if (!is_kept) chans_forget(cs, c);
}

void chans_forget(struct chans *cs, struct chan *c) {
    if (!c->known) return;
    chan_trim(c, c->kept->last, LOST_FORGOTTEN);
    if (c->kept->latest) latest_trim(c->kept->latest, c->kept->last, INT64_MAX);
    if (!c->policy->local) fold_floor(cs, c->policy->pattern, c->kept->floor, false);
    c->known = false;
    chan_release_backlog(c);
    chans_release(cs, c);
}

struct policy_table chans_set_policies(struct chans *cs, struct policy_set *set) {
    struct policy_table old = cs->policies;
    if (!policy_same_patterns(old.set, set)) share_floors(cs, set);
    for (uint32_t i = 0; i < cs->n_floors; i++)
        cs->floors[i].is_stored = stays_stored(&cs->floors[i], set);
    cs->policies = (struct policy_table){.set = policy_set_ref(set)};
    return old;
}
