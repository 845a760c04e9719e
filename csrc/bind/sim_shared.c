/* What a cluster brings to a sim: events with numbers of another machine, filled channels, other
 * epochs, marks. Each is a command that all threads get in the order of events. */
#include "base/mem.h"
#include "base/status.h"
#include "bind/l_aux.h"
#include "bind/sim.h"
#include "fan/shared.h"

#define FILLS_MAX 16
#define ROWS_MAX 64

struct fill {
    struct frame *frames[ROWS_MAX], *values[ROWS_MAX];
    char channel[CHANNEL_NAME_MAX];
};

struct command {
    struct message message;
    enum { FILLS, EPOCH, MARK } kind;
    uint32_t n;
    struct fan_fill fans[FILLS_MAX];
    struct fill fills[FILLS_MAX];
    struct fan_epoch epoch;
    struct lineage lineage;
    char name[EPOCH_LENGTH + 1];
    char channel[CHANNEL_NAME_MAX + 1];
    uint64_t seq;
    bool own;
};

static void unref_all(struct frame **frames, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) frame_unref(frames[i]);
}

static void on_command(void *owner, struct message *m) {
    struct replica *r = owner;
    struct command *c = container_of(m, struct command, message);
    fan_fill(&r->fan, c->fans, c->n);
    for (uint32_t i = 0; i < c->n; i++) {
        unref_all(c->fills[i].frames, c->fans[i].chan.n);
        unref_all(c->fills[i].values, c->fans[i].chan.n_values);
    }
    if (c->kind == EPOCH) fan_epoch(&r->fan, &c->epoch);
    if (c->kind == MARK)
        fan_mark(&r->fan, &(struct fan_mark){slice_str(c->channel), c->seq, c->own});
    mem_free(c);
}

/* sim:give(channel, event, data, key, remove, state, seq) -> true | nil, message, code */
int sim_give(lua_State *L) {
    struct sim *sim = sim_check(L);
    struct event ev = {.channel = lx_checkslice(L, 2),
                       .name = lx_checkslice(L, 3),
                       .data = lx_checkslice(L, 4),
                       .key = lx_optslice(L, 5),
                       .remove = lua_toboolean(L, 6)};
    uint64_t seq = (uint64_t)luaL_checkinteger(L, 8);
    struct frame *f;
    int err = frame_new(&f, &ev, !lua_toboolean(L, 7), sim->n);
    if (err < 0) return lx_fail(L, err);
    err = seq_give(&sim->seq, f, seq);
    frame_unref(f);
    if (err < 0) return lx_fail(L, err);
    lua_pushboolean(L, true);
    return 1;
}

/* sim:share(): it is one of a cluster */
int sim_share(lua_State *L) {
    struct sim *sim = sim_check(L);
    for (unsigned i = 0; i < sim->n; i++) fan_share(&sim->replicas[i].fan);
    return 0;
}

/* sim:know(seq) */
int sim_know(lua_State *L) {
    struct sim *sim = sim_check(L);
    seq_know(&sim->seq, (uint64_t)luaL_checkinteger(L, 2));
    return 0;
}

static uint64_t field(lua_State *L, int index, const char *name) {
    return (uint64_t)lx_field_number(L, index, name, 0);
}

/* A list of { seq =, data =, key = } in a field of the table at an index. */
static uint32_t read_rows(lua_State *L, int index, const char *name,
                          const struct sim *sim, struct frame **out) {
    bool has_id = !lx_field_bool(L, index, "state", false);
    struct slice channel = lx_field_slice(L, index, "channel");
    uint32_t n = 0;
    if (lua_getfield(L, index, name) != LUA_TTABLE) return 0;
    int list = lua_gettop(L);
    for (; n < ROWS_MAX && lua_rawgeti(L, list, n + 1) == LUA_TTABLE; n++) {
        int at = lua_gettop(L);
        struct frame_row row = {.seq = field(L, at, "seq"),
                                .event = {.channel = channel,
                                          .name = slice_str("message"),
                                          .key = lx_field_slice(L, at, "key"),
                                          .data = lx_field_slice(L, at, "data")}};
        if (frame_restore(&out[n], &row, has_id, sim->seq.epoch) < 0)
            luaL_error(L, "not enough memory");
        lua_settop(L, list);
    }
    lua_settop(L, list - 1);
    return n;
}

static void read_fill(lua_State *L, int at, const struct sim *sim, struct command *c) {
    struct fill *f = &c->fills[c->n];
    struct fan_fill *fan = &c->fans[c->n];
    struct slice channel = lx_field_slice(L, at, "channel");
    memcpy(f->channel, channel.p, channel.n);
    *fan = (struct fan_fill){.channel = slice_of(f->channel, channel.n),
                             .upto = field(L, at, "upto"),
                             .marked_by_others = field(L, at, "marked_by_others"),
                             .lost = lx_field_bool(L, at, "lost", false)};
    fan->chan = (struct chan_fill){.frames = f->frames,
                                   .values = f->values,
                                   .floor = field(L, at, "floor"),
                                   .gone = field(L, at, "gone"),
                                   .last = field(L, at, "last"),
                                   .marked = field(L, at, "marked")};
    fan->chan.n = read_rows(L, at, "rows", sim, f->frames);
    fan->chan.n_values = read_rows(L, at, "values", sim, f->values);
}

static void post(struct sim *sim, struct command **commands, const char *epoch) {
    struct message *messages[THREADS_MAX];
    for (unsigned i = 0; i < sim->n; i++) messages[i] = &commands[i]->message;
    const struct seq_command c = {
        .epoch = epoch, .messages = messages, .deliver = on_command};
    seq_command(&sim->seq, &c);
}

/* sim:fills{ { channel =, floor =, gone =, last =, upto =, marked =, marked_by_others =, lost =, state =, rows =,
 * values = }, … }:
 * at one moment */
int sim_fills(lua_State *L) {
    struct sim *sim = sim_check(L);
    struct command *commands[THREADS_MAX];
    luaL_checktype(L, 2, LUA_TTABLE);
    uint32_t n = (uint32_t)lua_rawlen(L, 2);
    luaL_argcheck(L, n <= FILLS_MAX, 2, "too many");
    for (unsigned i = 0; i < sim->n; i++) {
        struct command *c = commands[i] = mem_new(sizeof *c);
        c->kind = FILLS;
        for (c->n = 0; c->n < n; c->n++) {
            lua_rawgeti(L, 2, c->n + 1);
            read_fill(L, lua_gettop(L), sim, c);
            lua_pop(L, 1);
        }
    }
    post(sim, commands, NULL);
    return 0;
}

/* sim:adopt(epoch, lineage, base, head, marked, joined): base -1: it is the first */
int sim_adopt(lua_State *L) {
    struct sim *sim = sim_check(L);
    struct command *commands[THREADS_MAX];
    struct slice epoch = lx_checkslice(L, 2), lineage = lx_checkslice(L, 3);
    luaL_argcheck(L, epoch.n == EPOCH_LENGTH, 2, "no epoch");
    for (unsigned i = 0; i < sim->n; i++) {
        struct command *c = commands[i] = mem_new(sizeof *c);
        c->kind = EPOCH;
        memcpy(c->name, epoch.p, epoch.n);
        lineage_read(&c->lineage, lineage);
        c->epoch = (struct fan_epoch){.epoch = c->name,
                                      .lineage = &c->lineage,
                                      .base = (uint64_t)lua_tointeger(L, 4),
                                      .head = (uint64_t)lua_tointeger(L, 5),
                                      .marked = (uint64_t)lua_tointeger(L, 6),
                                      .joined = (uint64_t)lua_tointeger(L, 7)};
    }
    post(sim, commands, epoch.p);
    return 0;
}

/* sim:mark(channel, seq, own): "" is all of them */
int sim_mark(lua_State *L) {
    struct sim *sim = sim_check(L);
    struct command *commands[THREADS_MAX];
    struct slice channel = lx_checkslice(L, 2);
    uint64_t seq = (uint64_t)luaL_checkinteger(L, 3);
    luaL_argcheck(L, channel.n <= CHANNEL_NAME_MAX, 2, "too long");
    for (unsigned i = 0; i < sim->n; i++) {
        struct command *c = commands[i] = mem_new(sizeof *c);
        c->kind = MARK;
        c->seq = seq;
        c->own = lua_toboolean(L, 4);
        memcpy(c->channel, channel.p, channel.n);
    }
    post(sim, commands, NULL);
    return 0;
}
