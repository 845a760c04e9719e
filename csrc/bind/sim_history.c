/* What durable logs have beyond memory, in a sim: the spec is the store. It sees what is
 * asked for, and answers when it likes, with what it likes. */
#include "base/mem.h"
#include "bind/l_aux.h"
#include "bind/sim.h"

static int read_page(void *owner, struct page_request *r) {
    struct replica *replica = owner;
    r->arg = replica->asked;
    replica->asked = r;
    return 0;
}

void sim_history_init(struct replica *r, uint32_t held) {
    r->fan.chans.held = held;
    r->history = (struct fan_history){.read = read_page, .owner = r};
    r->fan.history = &r->history;
}

void sim_history_deinit(struct replica *r) {
    while (r->asked) {
        struct page_request *asked = r->asked;
        r->asked = asked->arg;
        history_discard(&r->fan, asked);
    }
}

/* A row { seq =, name =, data =, key =, remove = } at an index. NULL: memory is out. */
static struct frame *check_row(lua_State *L, int index, const struct sim *sim,
                               struct slice channel, bool has_id) {
    index = lua_absindex(L, index);
    struct frame_row row = {
        .seq = (uint64_t)lx_field_number(L, index, "seq", 0),
        .event = {.channel = channel,
                  .name = lx_field_slice(L, index, "name"),
                  .key = lx_field_slice(L, index, "key"),
                  .data = lx_field_slice(L, index, "data"),
                  .remove = lx_field_bool(L, index, "remove", false)}};
    struct frame *f = NULL;
    return frame_restore(&f, &row, has_id, sim->seq.epoch) == 0 ? f : NULL;
}

/* sim:restore(channel, floor, last, newest, state): what a start finds, on all threads */
int sim_restore(lua_State *L) {
    struct sim *sim = sim_check(L);
    struct slice channel = lx_checkslice(L, 2);
    luaL_checktype(L, 5, LUA_TTABLE);
    for (unsigned i = 0; i < sim->n; i++) {
        struct fan *fan = &sim->replicas[i].fan;
        int err = fan_restore_channel(fan, channel, (uint64_t)luaL_checkinteger(L, 3),
                                      (uint64_t)luaL_checkinteger(L, 4));
        if (err < 0) return lx_fail(L, err);
        for (lua_Integer k = 1; lua_rawgeti(L, 5, k) == LUA_TTABLE; k++) {
            struct frame *f = check_row(L, -1, sim, channel, !lua_toboolean(L, 6));
            if (!f) return luaL_error(L, "not enough memory");
            fan_restore_newest(fan, f);
            frame_unref(f);
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    return 0;
}

/* sim:restore_pattern(pattern, floor): its channels of which the store has no row */
int sim_restore_pattern(lua_State *L) {
    struct sim *sim = sim_check(L);
    for (unsigned i = 0; i < sim->n; i++)
        fan_restore_pattern(&sim->replicas[i].fan, lx_checkslice(L, 2),
                            (uint64_t)luaL_checkinteger(L, 3));
    return 0;
}

/* ---- Conversions ---------------------------------------------------------------------- */

struct conversion {
    struct fan_conversion brings;
    unsigned left; /* threads that have not taken it */
};

static char *copy_text(struct slice s) {
    return mem_strndup(s.p, s.n);
}

static uint32_t count_pairs(lua_State *L, int index) {
    uint32_t n = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) n++;
    return n;
}

static void add_newest(lua_State *L, const struct sim *sim, struct fan_conversion *c,
                       struct slice channel) {
    uint32_t n = (uint32_t)lua_rawlen(L, -1);
    struct frame **newest = mem_new((c->n_newest + n + 1) * sizeof(struct frame *));
    if (c->n_newest > 0) memcpy(newest, c->newest, c->n_newest * sizeof *newest);
    mem_free(c->newest);
    c->newest = newest;
    for (uint32_t i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        struct frame *f = check_row(L, -1, sim, channel, true);
        if (f) newest[c->n_newest++] = f;
        lua_pop(L, 1);
    }
}

/* Arguments 2 to 4: policies, { [channel] = its newest rows } of durable logs that become keyed,
 * { [durable pattern] = floor } */
struct fan_conversion *sim_check_conversion(lua_State *L, struct sim *sim) {
    luaL_checktype(L, 3, LUA_TTABLE);
    luaL_checktype(L, 4, LUA_TTABLE);
    struct policy_set *set = lx_checkpolicies(L, 2);
    struct conversion *own = mem_new(sizeof *own);
    struct fan_conversion *c = &own->brings;
    own->left = sim->n;
    c->policies = set;
    c->keyed = mem_new((count_pairs(L, 3) + 1) * sizeof *c->keyed);
    struct fan_floor *floors = mem_new((count_pairs(L, 4) + 1) * sizeof *floors);
    for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1)) {
        struct slice name = lx_checkslice(L, -2);
        c->keyed[c->n_keyed++] = slice_of(copy_text(name), name.n);
        add_newest(L, sim, c, name);
    }
    for (lua_pushnil(L); lua_next(L, 4); lua_pop(L, 1)) {
        struct slice name = lx_checkslice(L, -2);
        floors[c->n_floors++] = (struct fan_floor){slice_of(copy_text(name), name.n),
                                                   (uint64_t)lua_tointeger(L, -1)};
    }
    c->floors = floors;
    return c;
}

void sim_take_conversion(struct replica *r, struct fan_conversion *c) {
    struct conversion *own = container_of(c, struct conversion, brings);
    fan_convert(&r->fan, c);
    if (--own->left > 0) return;
    for (uint32_t i = 0; i < c->n_keyed; i++) mem_free((char *)c->keyed[i].p);
    for (uint32_t i = 0; i < c->n_floors; i++) mem_free((char *)c->floors[i].pattern.p);
    for (uint32_t i = 0; i < c->n_newest; i++) frame_unref(c->newest[i]);
    policy_set_unref(c->policies);
    mem_free((struct fan_floor *)c->floors);
    mem_free(c->keyed);
    mem_free(c->newest);
    mem_free(own);
}

static void set_number(lua_State *L, const char *name, uint64_t n) {
    lua_pushinteger(L, (lua_Integer)n);
    lua_setfield(L, -2, name);
}

/* sim:pages(thread) -> { { channel =, above =, upto =, events =, newest =, joined =,
 * stream =, id = }, … }, the
 * newest first */
int sim_pages(lua_State *L) {
    struct sim *sim = sim_check(L);
    struct replica *replica = sim_check_replica(L, sim, 2);
    lua_newtable(L);
    lua_Integer n = 0;
    for (struct page_request *r = replica->asked; r; r = r->arg) {
        lua_newtable(L);
        lx_pushslice(L, r->channel);
        lua_setfield(L, -2, "channel");
        set_number(L, "above", r->above);
        set_number(L, "upto", r->upto);
        set_number(L, "events", r->events_max);
        set_number(L, "newest", r->newest);
        set_number(L, "joined", r->joined);
        if (r->paging) lua_pushlightuserdata(L, r->paging->stream);
        else lua_pushnil(L);
        lua_setfield(L, -2, "stream");
        lua_pushlightuserdata(L, r);
        lua_setfield(L, -2, "id");
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

/* sim:paging(thread) -> whether some stream reads pages, or waits to */
int sim_paging(lua_State *L) {
    struct fan *fan = &sim_check_replica(L, sim_check(L), 2)->fan;
    lua_pushboolean(L, fan->page_turns > 0 || !list_empty(&fan->page_queue) ||
                           !list_empty(&fan->page_rest));
    return 1;
}

/* sim:answer(thread, id, rows, floor, given[, above]): rows nil: it could not be read */
int sim_answer(lua_State *L) {
    struct sim *sim = sim_check(L);
    struct replica *replica = sim_check_replica(L, sim, 2);
    struct page_request **at = &replica->asked;
    while (*at && *at != lua_touserdata(L, 3)) at = (struct page_request **)&(*at)->arg;
    if (!*at) return luaL_argerror(L, 3, "no such page");
    struct page_request *r = *at;
    r->err = lua_istable(L, 4) ? 0 : -1;
    r->floor = (uint64_t)luaL_optinteger(L, 5, 0);
    r->given = (uint64_t)luaL_optinteger(L, 6, 0);
    r->above = (uint64_t)luaL_optinteger(L, 7, (lua_Integer)r->above);
    lua_Integer n = r->err ? 0 : (lua_Integer)lua_rawlen(L, 4);
    r->frames = n > 0 ? mem_new((size_t)n * sizeof(struct frame *)) : NULL;
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, 4, i);
        struct frame *f = check_row(L, -1, sim, r->channel, true);
        if (f) r->frames[r->n++] = f;
        lua_pop(L, 1);
    }
    *at = r->arg;
    history_answer(&replica->fan, r);
    return 0;
}
