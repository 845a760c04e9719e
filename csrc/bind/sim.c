/* A 'sim' is one sequencer and a few fans, each behind its mailbox; the spec decides
 * when a thread takes its messages and when it flushes, so every interleaving can be
 * played and replayed. Streams collect the bytes that a socket would have been given. See
 * testing.c, whose module this is a part of. */
#include "bind/sim.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/status.h"
#include "bind/l_aux.h"
#include "fan/stream_open.h"

#include <assert.h>

#define SIM "sluice.testing.sim"
#define STREAM "sluice.testing.stream"
/* A client: what it has read, and whether it reads at all. */
struct client {
    struct stream stream;
    struct sim *sim;
    bool open, stalled, ended, clean;
    struct buf got;
    struct block *pinned;
    struct list queued; /* in its replica: the result of the pinned block is awaited */
};

/* ---- The end of the wire ------------------------------------------------------------ */

/* Without what goes around a chunk. */
static struct slice sent_to(const struct client *c, const struct block *b) {
    if (c->stream.form == FORM_BARE) return block_wire(b, FORM_BARE);
    enum coding coding = form_coding(c->stream.form);
    const struct block *sent = coding ? b->coded[coding] : b;
    return slice_of(block_bytes(sent), sent->n);
}

static void receive(struct client *c, struct block *b) {
    struct slice sent = sent_to(c, b);
    int err = buf_add(&c->got, sent.p, sent.n);
    if (err < 0) err = buf_add(&c->got, sent.p, sent.n); /* no part of the core */
    assert(err == 0);
    (void)err;
    if (b->end != STREAM_GOES_ON) c->ended = true;
    c->clean = b->end == STREAM_ENDS;
    block_unref(b);
}

static enum fan_sent on_send(struct stream *s, struct block *b) {
    struct client *c = container_of(s, struct client, stream);
    struct replica *r = container_of(s->fan, struct replica, fan);
    if (r->delayed) {
        c->pinned = b;
        list_add(&r->queued, &c->queued);
        if (++r->unsent == RING_BATCH) sim_enter_kernel(r);
        return FAN_QUEUED;
    }
    if (c->stalled) {
        c->pinned = b;
        return FAN_BLOCKED;
    }
    receive(c, b);
    return FAN_SENT;
}

static void on_expect(const struct stream *s) {
    (void)s;
}

static void on_lost(struct stream *s, const struct loss *loss) {
    (void)s, (void)loss;
}

/* A stalled one has taken nothing of what it was given. */
static bool on_take_back(struct stream *s) {
    struct client *c = container_of(s, struct client, stream);
    if (!c->pinned || !list_empty(&c->queued)) return false;
    block_unref(c->pinned);
    c->pinned = NULL;
    return true;
}

/* What was queued is sent, or pinned by a stalled socket. */
static void report_results(struct replica *r) {
    sim_enter_kernel(r);
    while (!list_empty(&r->queued)) {
        struct client *c = container_of(r->queued.next, struct client, queued);
        struct block *b = c->pinned;
        bool over = b->end != STREAM_GOES_ON;
        list_remove(&c->queued);
        if (!c->stalled) c->pinned = NULL;
        if (!c->stalled) receive(c, b);
        fan_on_result(&c->stream, c->stalled ? FAN_BLOCKED : FAN_SENT, over);
    }
}

static const struct fan_ops ops = {
    .send = on_send, .take_back = on_take_back, .lost = on_lost, .expect = on_expect};

static void io_on_frame(void *owner, struct message *m) {
    struct replica *r = owner;
    struct frame_post *post = container_of(m, struct frame_post, message);
    mailbox_event_done(&r->loop.mailbox);
    fan_frame(&r->fan, post->frame);
    frame_unref(post->frame);
}

/* ---- Commands that cross ------------------------------------------------------------ */

struct command {
    struct message message;
    enum { TRIM, DROP, POLICIES, FLOOR, CONVERT } kind;
    uint64_t seq;
    struct policy_set *set;
    struct fan_conversion *conversion; /* the sim's; see sim_history.c */
    struct slice channel;
    char name[];
};

static void io_on_command(void *owner, struct message *m) {
    struct replica *r = owner;
    struct command *command = container_of(m, struct command, message);
    if (command->kind == TRIM)
        fan_trim(&r->fan, command->channel, command->seq, LOST_TTL);
    if (command->kind == FLOOR) fan_raise_floor(&r->fan, command->channel, command->seq);
    if (command->kind == DROP) fan_drop(&r->fan, command->channel);
    if (command->kind == POLICIES) fan_policies(&r->fan, command->set);
    if (command->kind == CONVERT) sim_take_conversion(r, command->conversion);
    policy_set_unref(command->set);
    mem_free(command);
}

static void nothing(void *owner, struct message *m) {
    (void)owner, (void)m;
}

/* sim:convert(rules, keyed, floors): a command in a group of its own; see sim_history.c */
static int sim_convert(lua_State *L) {
    struct sim *sim = sim_check(L);
    struct fan_conversion *c = sim_check_conversion(L, sim);
    struct message *messages[THREADS_MAX];
    static struct message own;
    uint64_t first;
    int err = seq_group_open(&sim->seq, 1, &first);
    if (err < 0) return lx_fail(L, err);
    for (unsigned i = 0; i < sim->n; i++) {
        struct command *command = mem_new(sizeof *command);
        command->kind = CONVERT;
        command->conversion = c;
        messages[i] = &command->message;
    }
    seq_group_command(&sim->seq, messages, io_on_command, &own, nothing);
    seq_take_own(&sim->seq);
    lua_pushinteger(L, (lua_Integer)first);
    return 1;
}

static void post_command(struct sim *sim, int kind, struct slice channel, uint64_t seq,
                         struct policy_set *set) {
    struct message *messages[THREADS_MAX];
    for (unsigned i = 0; i < sim->n; i++) {
        struct command *command = mem_new(sizeof *command + channel.n + 1);
        command->kind = (unsigned)kind;
        command->seq = seq;
        command->set = set ? policy_set_ref(set) : NULL;
        if (channel.n > 0) memcpy(command->name, channel.p, channel.n);
        command->channel = slice_of(command->name, channel.n);
        messages[i] = &command->message;
    }
    seq_post(&sim->seq, messages, io_on_command);
}

/* ---- sim ---------------------------------------------------------------------------- */

struct sim *sim_check(lua_State *L) {
    struct sim *sim = luaL_checkudata(L, 1, SIM);
    luaL_argcheck(L, sim->open, 1, "the sim is closed");
    return sim;
}

struct replica *sim_check_replica(lua_State *L, struct sim *sim, int index) {
    lua_Integer i = luaL_checkinteger(L, index);
    luaL_argcheck(L, i >= 1 && i <= (lua_Integer)sim->n, index, "no such thread");
    return &sim->replicas[i - 1];
}

/* testing.sim(threads[, seed[, delayed[, held[, epoch, head]]]]) -> sim. Delayed: the result of
 * what is sent comes at the end of a flush. Of durable logs memory holds so many events. With
 * an epoch and a head it is a later run. */
int sim_new(lua_State *L) {
    lua_Integer n = luaL_checkinteger(L, 1);
    uint64_t seed = (uint64_t)luaL_optinteger(L, 2, 1);
    luaL_argcheck(L, n >= 1 && n <= THREADS_MAX, 1, "1 to 4 threads");
    bool delayed = lua_toboolean(L, 3);
    uint32_t held = (uint32_t)luaL_optinteger(L, 4, HELD_EVENTS_MAX);
    const char *epoch = luaL_optstring(L, 5, NULL);
    uint64_t head = (uint64_t)luaL_optinteger(L, 6, 0);
    struct sim *sim = lua_newuserdatauv(L, sizeof *sim, 0);
    memset(sim, 0, sizeof *sim);
    luaL_setmetatable(L, SIM);
    seq_init(&sim->seq, epoch, head, io_on_frame);
    sim->n = (unsigned)n;
    for (unsigned i = 0; i < sim->n; i++) {
        struct replica *r = &sim->replicas[i];
        list_init(&r->queued);
        r->delayed = delayed;
        loop_own(&r->loop);
        mailbox_init(&r->loop.mailbox, r);
        fan_init(&r->fan, &(struct fan_setup){.loop = &r->loop,
                                              .epoch = sim->seq.epoch,
                                              .log_head = &sim->seq.head,
                                              .ops = &ops,
                                              .seed = seed});
        if (head > 0) fan_restore_start(&r->fan, sim->seq.epoch, head);
        sim_history_init(r, held);
        sim_latency_init(r);
        seq_add_target(&sim->seq, &r->loop.mailbox);
    }
    sim->open = true;
    return 1;
}

/* sim:close(): all streams must be closed before. */
static int sim_close(lua_State *L) {
    struct sim *sim = luaL_checkudata(L, 1, SIM);
    if (!sim->open) return 0;
    if (sim->streams > 0) return luaL_error(L, "%d streams are open", (int)sim->streams);
    sim->open = false;
    for (uint32_t i = 0; i < sim->group_n; i++) frame_unref(sim->group[i]);
    for (unsigned i = 0; i < sim->n; i++) {
        mailbox_drain(&sim->replicas[i].loop.mailbox, INT32_MAX);
        sim_history_deinit(&sim->replicas[i]);
        fan_deinit(&sim->replicas[i].fan);
        mailbox_deinit(&sim->replicas[i].loop.mailbox);
    }
    seq_deinit(&sim->seq);
    return 0;
}

static struct event check_event(lua_State *L, int at) {
    return (struct event){.channel = lx_checkslice(L, at),
                          .name = lx_optslice(L, at + 1),
                          .data = lx_checkslice(L, at + 2),
                          .key = lx_optslice(L, at + 3),
                          .remove = lua_toboolean(L, at + 4)};
}

/* sim:publish(channel, event, data[, key[, remove[, state[, local]]]]) -> seq | nil, message, code */
static int sim_publish(lua_State *L) {
    struct sim *sim = sim_check(L);
    struct event ev = check_event(L, 2);
    struct frame *f;
    bool local = lua_toboolean(L, 8);
    int err = frame_new(&f, &ev, !lua_toboolean(L, 7) && !local, sim->n);
    if (err < 0) return lx_fail(L, err);
    f->local = local;
    struct message *own; /* nothing: no replica is the publisher's */
    f->at_us = clock_us();
    err = seq_publish(&sim->seq, f, &own);
    uint64_t seq = f->seq;
    frame_unref(f);
    if (err < 0) return lx_fail(L, err);
    lua_pushinteger(L, (lua_Integer)seq);
    return 1;
}

/* sim:group{ {channel, event, data[, key[, remove]]} | false, … } -> first number: a durable
 * group in flight; false is a hole */
static int sim_group(lua_State *L) {
    struct sim *sim = sim_check(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    uint32_t n = (uint32_t)lua_rawlen(L, 2);
    luaL_argcheck(L, n >= 1 && n <= 64 && !sim->in_flight, 2,
                  "1 to 64 events, one group");
    uint64_t first;
    int err = seq_group_open(&sim->seq, n, &first);
    for (uint32_t i = 0; i < n && err == 0; i++) {
        int top = lua_gettop(L);
        if (lua_rawgeti(L, 2, (lua_Integer)i + 1) == LUA_TTABLE) {
            struct frame **f = &sim->group[sim->group_n];
            for (int k = 1; k <= 5; k++) lua_rawgeti(L, top + 1, k);
            struct event ev = check_event(L, top + 2);
            err = frame_new(f, &ev, true, sim->n + 1);
            if (err == 0) frame_number(*f, sim->seq.epoch, first + i);
            if (err == 0) sim->group_n++;
        }
        lua_settop(L, top);
    }
    sim->in_flight = true;
    if (err < 0) return lx_fail(L, err);
    lua_pushinteger(L, (lua_Integer)first);
    return 1;
}

/* sim:release() / sim:abort(): the end of the group's commit */
static int end_group(lua_State *L, bool commit) {
    struct sim *sim = sim_check(L);
    luaL_argcheck(L, sim->in_flight, 1, "no group in flight");
    if (commit) seq_group_release(&sim->seq, sim->group, sim->group_n);
    else seq_group_abort(&sim->seq);
    for (uint32_t i = 0; i < sim->group_n; i++) frame_unref(sim->group[i]);
    sim->group_n = 0;
    sim->in_flight = false;
    return 0;
}

static int sim_release(lua_State *L) {
    return end_group(L, true);
}

static int sim_abort(lua_State *L) {
    return end_group(L, false);
}

/* sim:trim(channel, seq), sim:raise_floor(channel, seq), sim:drop(channel), sim:policies(list) */
static int sim_trim(lua_State *L) {
    struct sim *sim = sim_check(L);
    post_command(sim, TRIM, lx_checkslice(L, 2), (uint64_t)luaL_checkinteger(L, 3), NULL);
    return 0;
}

static int sim_raise_floor(lua_State *L) {
    struct sim *sim = sim_check(L);
    post_command(sim, FLOOR, lx_checkslice(L, 2), (uint64_t)luaL_checkinteger(L, 3),
                 NULL);
    return 0;
}

static int sim_drop(lua_State *L) {
    struct sim *sim = sim_check(L);
    post_command(sim, DROP, lx_checkslice(L, 2), 0, NULL);
    return 0;
}

static int sim_policies(lua_State *L) {
    struct sim *sim = sim_check(L);
    struct policy_set *set = lx_checkpolicies(L, 2);
    post_command(sim, POLICIES, slice_of("", 0), 0, set);
    policy_set_unref(set);
    return 0;
}

/* sim:drain(thread[, max]) -> n: deliver commands. sim:flush(thread[, budget]) -> more */
static int sim_drain(lua_State *L) {
    struct sim *sim = sim_check(L);
    struct replica *r = sim_check_replica(L, sim, 2);
    lua_pushinteger(
        L, mailbox_drain(&r->loop.mailbox, (int)luaL_optinteger(L, 3, INT32_MAX)));
    return 1;
}

static int sim_flush(lua_State *L) {
    struct sim *sim = sim_check(L);
    struct replica *r = sim_check_replica(L, sim, 2);
    bool more = fan_flush(&r->fan, (int)luaL_optinteger(L, 3, INT32_MAX / 4));
    report_results(r);
    fan_settle(&r->fan);
    lua_pushboolean(L, more || !list_empty(&r->fan.ready));
    return 1;
}

/* sim:now(ms): what the fans take for the time */
static int sim_now(lua_State *L) {
    struct sim *sim = sim_check(L);
    for (unsigned i = 0; i < sim->n; i++)
        sim->replicas[i].fan.now_ms = (int64_t)luaL_checkinteger(L, 2);
    return 0;
}

/* sim:head(), sim:epoch(), sim:floor(thread, channel), sim:events(thread, channel) */
static int sim_head(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)sim_check(L)->seq.head);
    return 1;
}

static int sim_epoch(lua_State *L) {
    lua_pushstring(L, sim_check(L)->seq.epoch);
    return 1;
}

static int sim_floor(lua_State *L) {
    struct sim *sim = sim_check(L);
    struct replica *r = sim_check_replica(L, sim, 2);
    struct chan *c = chans_find(&r->fan.chans, lx_checkslice(L, 3));
    if (!c) return 0;
    lua_pushinteger(L, (lua_Integer)chans_floor(&r->fan.chans, c));
    return 1;
}

static int sim_events(lua_State *L) {
    struct sim *sim = sim_check(L);
    struct replica *r = sim_check_replica(L, sim, 2);
    struct chan *c = chans_find(&r->fan.chans, lx_checkslice(L, 3));
    lua_pushinteger(L, c ? (lua_Integer)chan_events(c) : 0);
    return 1;
}

/* ---- streams ------------------------------------------------------------------------ */

/* sim:connect(thread, plan[, last_id[, client[, form]]]) -> stream | nil, message, code: form is
 * "chunked", "http10", "gzip" or "zstd", and says how take() gives what was sent, without chunks
 * and what goes before the first block */
static int sim_connect(lua_State *L) {
    struct sim *sim = sim_check(L);
    struct replica *r = sim_check_replica(L, sim, 2);
    struct slice last_id = lx_optslice(L, 4);
    struct slice id = lx_optslice(L, 5);
    static const char *const forms[] = {"chunked", "http10", "gzip", "zstd", NULL};
    static const enum form_id ids[] = {FORM_CHUNKED, FORM_BARE, FORM_GZIP, FORM_ZSTD};
    enum form_id form = ids[luaL_checkoption(L, 6, forms[0], forms)];
    lua_settop(L, 5);
    struct plan_spec plan = lx_checkplan(L, 3);
    struct client *c = lua_newuserdatauv(L, sizeof *c, 1);
    memset(c, 0, sizeof *c);
    luaL_setmetatable(L, STREAM);
    lua_pushvalue(L, 1); /* the stream keeps its sim alive */
    lua_setiuservalue(L, -2, 1);
    c->sim = sim;
    list_init(&c->queued);
    stream_init(&c->stream, &r->fan, form);
    struct stream_opening o = {.client = id.n ? id : slice_str("client"),
                               .plan = plan,
                               .last_id = eventid_parse(last_id),
                               .retry_ms = 2500,
                               .heartbeat = 15};
    int err = stream_open(&c->stream, &o);
    if (err < 0) return lx_fail(L, err);
    c->open = true;
    sim->streams++;
    return 1;
}

static struct client *check_client(lua_State *L) {
    struct client *c = luaL_checkudata(L, 1, STREAM);
    luaL_argcheck(L, c->open, 1, "the stream is closed");
    return c;
}

/* stream:close(): the client is gone; what it had not read is lost to it. */
static int client_close(lua_State *L) {
    struct client *c = luaL_checkudata(L, 1, STREAM);
    if (!c->open) return 0;
    c->open = false;
    c->sim->streams--;
    if (c->pinned) block_unref(c->pinned);
    stream_deinit(&c->stream);
    buf_free(&c->got);
    return 0;
}

/* stream:take() -> bytes since the last call, ended ("stop" | "drop" | nil) */
static int client_take(lua_State *L) {
    struct client *c = check_client(L);
    lx_pushslice(L, buf_slice(&c->got));
    c->got.n = 0;
    if (c->ended) lua_pushstring(L, c->clean ? "stop" : "drop");
    else lua_pushnil(L);
    return 2;
}

/* stream:stall(on): the socket takes nothing; off: it takes what was pinned. */
static int client_stall(lua_State *L) {
    struct client *c = check_client(L);
    c->stalled = lua_toboolean(L, 2);
    if (c->stalled || !c->pinned) return 0;
    bool over = c->pinned->end != STREAM_GOES_ON;
    receive(c, c->pinned);
    c->pinned = NULL;
    if (!over) stream_writable(&c->stream);
    return 0;
}

static int done(lua_State *L, int err) {
    if (err < 0) return lx_fail(L, err);
    lua_pushboolean(L, true);
    return 1;
}

/* stream:subscribe(spec), stream:unsubscribe(name), stream:filter(types, keys, max_rate) */
static int client_subscribe(lua_State *L) {
    struct client *c = check_client(L);
    struct sub_spec spec = lx_checkspec(L, 2);
    return done(L, stream_subscribe(&c->stream, &spec));
}

static int client_unsubscribe(lua_State *L) {
    struct client *c = check_client(L);
    lua_pushboolean(L, stream_unsubscribe(&c->stream, lx_checkslice(L, 2)));
    return 1;
}

static int client_filter(lua_State *L) {
    struct client *c = check_client(L);
    struct sub_spec wanted = {.period_ms = tick_period_of_rate(luaL_optnumber(L, 4, 0))};
    lua_settop(L, 3);
    wanted.types = lx_checklist(L, 2, "types");
    wanted.keys = lx_checklist(L, 3, "keys");
    return done(L, stream_set(&c->stream, &wanted));
}

/* stream:send(event, data), stream:bye(reason), stream:sync() -> whether one was due */
static int client_send(lua_State *L) {
    struct client *c = check_client(L);
    struct event event = {.name = lx_checkslice(L, 2), .data = lx_checkslice(L, 3)};
    if (c->stream.note_bytes > STREAM_PRIVATE_BYTES_MAX) return lx_fail(L, E_FULL);
    struct frame *f;
    int err = frame_new(&f, &event, false, 0);
    if (err < 0) return lx_fail_event(L, err, &event);
    frame_number(f, c->stream.fan->epoch, 1);
    err = stream_send(&c->stream, f->text);
    frame_unref(f);
    return done(L, err);
}

static int client_bye(lua_State *L) {
    struct client *c = check_client(L);
    enum end_reason reason = reason_of_word(luaL_checkstring(L, 2));
    luaL_argcheck(L, reason != END_NONE, 2, "no such reason");
    stream_bye(&c->stream, reason);
    return 0;
}

static int client_sync(lua_State *L) {
    struct client *c = check_client(L);
    bool due = !c->stream.blocked && stream_wants_sync(&c->stream, c->stream.fan->now_ms);
    if (due) stream_sync(&c->stream);
    lua_pushboolean(L, due);
    return 1;
}

/* ---- Types -------------------------------------------------------------------------- */

static void new_type(lua_State *L, const char *name, const luaL_Reg *methods,
                     lua_CFunction close) {
    luaL_newmetatable(L, name);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, close);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, close);
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
}

void sim_types(lua_State *L) {
    static const luaL_Reg sim_methods[] = {{"close", sim_close},
                                           {"publish", sim_publish},
                                           {"group", sim_group},
                                           {"release", sim_release},
                                           {"abort", sim_abort},
                                           {"trim", sim_trim},
                                           {"raise_floor", sim_raise_floor},
                                           {"drop", sim_drop},
                                           {"policies", sim_policies},
                                           {"convert", sim_convert},
                                           {"give", sim_give},
                                           {"fills", sim_fills},
                                           {"adopt", sim_adopt},
                                           {"mark", sim_mark},
                                           {"know", sim_know},
                                           {"share", sim_share},
                                           {"drain", sim_drain},
                                           {"flush", sim_flush},
                                           {"now", sim_now},
                                           {"head", sim_head},
                                           {"epoch", sim_epoch},
                                           {"floor", sim_floor},
                                           {"events", sim_events},
                                           {"connect", sim_connect},
                                           {"restore", sim_restore},
                                           {"restore_pattern", sim_restore_pattern},
                                           {"pages", sim_pages},
                                           {"answer", sim_answer},
                                           {"paging", sim_paging},
                                           {"latencies", sim_latencies},
                                           {"clock", sim_clock},
                                           {NULL, NULL}};
    static const luaL_Reg client_methods[] = {{"close", client_close},
                                              {"take", client_take},
                                              {"stall", client_stall},
                                              {"subscribe", client_subscribe},
                                              {"unsubscribe", client_unsubscribe},
                                              {"filter", client_filter},
                                              {"send", client_send},
                                              {"bye", client_bye},
                                              {"sync", client_sync},
                                              {NULL, NULL}};
    new_type(L, SIM, sim_methods, sim_close);
    new_type(L, STREAM, client_methods, client_close);
}
