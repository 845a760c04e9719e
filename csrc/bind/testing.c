/* sluice.core.testing: parts of the core for specs: the cursor core in a sim (sim.c), frames,
 * ids, what is alive, and allocations that fail. */
#include "base/bounds.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"
#include "bind/l_aux.h"
#include "bind/sim.h"
#include "fan/eventid.h"
#include "fan/fan.h"
#include "run/yield.h"

#include <sys/resource.h>

/* ---- plain functions ---------------------------------------------------------------- */

/* testing.encode{event=, data=, key=, seq=, state=} -> text | nil, message, code */
static int l_encode(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    struct event ev = {.name = lx_field_slice(L, 1, "event"),
                       .data = lx_field_slice(L, 1, "data"),
                       .key = lx_field_slice(L, 1, "key")};
    uint64_t seq = (uint64_t)lx_field_number(L, 1, "seq", 0);
    struct buf *text = lx_newbuf(L), *payload = lx_newbuf(L);
    struct frame *f;
    int err = frame_new(&f, &ev, seq > 0, 0);
    if (err < 0) return lx_fail(L, err);
    frame_number(f, "aaaaaaaaaaaaa", seq ? seq : 1);
    err = frame_payload(f, payload);
    if (err == 0) err = buf_add(text, f->text.p, f->text.n);
    frame_unref(f);
    if (err < 0) return lx_fail(L, err);
    lx_pushslice(L, buf_slice(text));
    lx_pushslice(L, buf_slice(payload));
    return 2;
}

/* testing.wire(form, events[, ends]) -> what is sent of a block of them; what a stream begins with, and a heartbeat, before they are compressed; what goes
 * before the first block */
static int l_wire(lua_State *L) {
    static const char *const names[] = {"chunked",   "gzip",         "zstd",
                                        "unnamed",   "bare",         "gzip bare",
                                        "zstd bare", "unnamed bare", NULL};
    enum form_id id = (enum form_id)luaL_checkoption(L, 1, NULL, names);
    struct slice events = lx_checkslice(L, 2);
    enum stream_end end = lua_toboolean(L, 3) ? STREAM_ENDS : STREAM_GOES_ON;
    struct buf *head = lx_newbuf(L), *heartbeat = lx_newbuf(L), *wire = lx_newbuf(L);
    struct block *b = block_new(events.p, (uint32_t)events.n, end);
    struct coder coder = {0};
    int err = b ? block_code(b, id, &coder) : E_NOMEM;
    if (err >= 0) err = buf_add(wire, block_wire(b, id).p, block_wire(b, id).n);
    if (b) block_unref(b);
    coder_deinit(&coder);
    if (err == 0) err = form_of(id)->head(head, 2500);
    if (err == 0) err = form_of(id)->heartbeat(heartbeat);
    if (err < 0) return lx_fail(L, err);
    lx_pushslice(L, buf_slice(wire));
    lx_pushslice(L, buf_slice(head));
    lx_pushslice(L, buf_slice(heartbeat));
    lx_pushslice(L, form_of(id)->begin);
    return 4;
}

/* testing.eventid(text) -> kind, epoch, seq */
static int l_eventid(lua_State *L) {
    static const char *const kinds[] = {"none", "good", "bad", "stop"};
    struct eventid id = eventid_parse(lx_checkslice(L, 1));
    lua_pushstring(L, kinds[id.kind]);
    if (id.kind != EVENTID_GOOD) return 1;
    lua_pushstring(L, id.epoch);
    lua_pushinteger(L, (lua_Integer)id.seq);
    return 3;
}

static int64_t sleeps_of_thread(void) {
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw;
}

/* testing.work(ms, urgent) -> {worked_us=, slept_us=, longest_us=, sleeps=, part=, credit_us=}: pieces of work,
 * between which the thread gives way (run/yield.h) */
static int l_work(lua_State *L) {
    int64_t end_us = clock_us() + luaL_checkinteger(L, 1) * 1000, slept = 0, longest = 0;
    atomic_uint urgent = (unsigned)lua_toboolean(L, 2);
    struct yield y = {.urgent = &urgent};
    int64_t began_us = clock_us(), sleeps = sleeps_of_thread(), now_us = began_us;
    while (now_us < end_us) {
        for (int64_t till = now_us + YIELD_EVERY_US; now_us < till;) now_us = clock_us();
        yield_if_urgent(&y);
        int64_t gave_us = clock_us() - now_us;
        slept += gave_us;
        if (gave_us > longest) longest = gave_us;
        now_us += gave_us;
    }
    lua_newtable(L);
    lx_set_integer(L, "worked_us", (uint64_t)(now_us - began_us - slept));
    lx_set_integer(L, "slept_us", (uint64_t)slept);
    lx_set_integer(L, "longest_us", (uint64_t)longest);
    lx_set_integer(L, "sleeps", (uint64_t)(sleeps_of_thread() - sleeps));
    lx_set_integer(L, "part", YIELD_PART);
    lx_set_integer(L, "credit_us", YIELD_CREDIT_US);
    return 1;
}

/* testing.fail_alloc(n[, ever]) -> left: the n-th allocation of a peer's size fails; 0:
 * none. 'left' is 0 when the one that was to fail before has failed. */
static int l_fail_alloc(lua_State *L) {
    long left = fault_left();
    fault_after((long)luaL_checkinteger(L, 1), lua_toboolean(L, 2));
    lua_pushinteger(L, left);
    return 1;
}

#ifdef SLUICE_PLANTED
/* testing.plant(n): the planted bug that is active; 0: none */
static int l_plant(lua_State *L) {
    planted_bug = (int)luaL_checkinteger(L, 1);
    return 0;
}
#endif

/* testing.alive() -> { memory, frames, blocks } */
static int l_alive(lua_State *L) {
    lx_pushalive(L);
    return 1;
}

/* testing.limits: what of bounds.h a spec wants to reach */
static void push_limits(lua_State *L) {
    static const struct {
        const char *name;
        uint64_t value;
    } limits[] = {{"backlog_events", BACKLOG_EVENTS_MAX},
                  {"flush_bytes", FLUSH_BYTES_MAX},
                  {"flush_walk_bytes", FLUSH_WALK_BYTES_MAX},
                  {"backlog_bytes", BACKLOG_BYTES_MAX},
                  {"gather_bytes", GATHER_BYTES_MAX},
                  {"private_bytes", STREAM_PRIVATE_BYTES_MAX},
                  {"event_bytes", EVENT_BYTES_MAX},
                  {"mailbox_events", MAILBOX_EVENTS_MAX},
                  {"group_gap", GROUP_GAP}};
    lua_createtable(L, 0, sizeof limits / sizeof *limits);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        lx_set_integer(L, limits[i].name, limits[i].value);
}

LX_EXPORT int luaopen_sluice_core_testing(lua_State *L) {
    static const luaL_Reg functions[] = {
#ifdef SLUICE_PLANTED
        {"plant", l_plant},
#endif
        {"sim", sim_new},       {"encode", l_encode}, {"wire", l_wire},
        {"eventid", l_eventid}, {"alive", l_alive},   {"fail_alloc", l_fail_alloc},
        {"work", l_work},       {NULL, NULL}};
    sim_types(L);
    luaL_newlib(L, functions);
    push_limits(L);
    lua_setfield(L, -2, "limits");
    return 1;
}
