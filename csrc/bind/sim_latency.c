/* How long the events of a sim took: queued blocks enter a kernel that takes its time for each
 * batch. See latency.h. */
#include "base/clock.h"
#include "bind/sim.h"

#include <lauxlib.h>

void sim_enter_kernel(struct replica *r) {
    if (r->unsent == 0) return;
    r->unsent = 0;
    if (r->batch_us > 0) clock_hold(clock_us() + r->batch_us, clock_wall());
}

void sim_latency_init(struct replica *r) {
    r->fan.latency.into = r->fan.latency_queued.into = &r->latency;
    r->fan.unsent = &r->unsent;
}

/* sim:latencies(thread[, us]) -> how many were counted, their sum in us. From now on a batch takes
 * so long, of clocks that stand then. */
int sim_latencies(lua_State *L) {
    struct replica *r = sim_check_replica(L, sim_check(L), 2);
    uint64_t n = 0;
    for (int i = 0; i <= HISTOGRAM_BOUNDS; i++) n += r->latency.n[i];
    lua_pushinteger(L, (lua_Integer)n);
    lua_pushinteger(L, (lua_Integer)r->latency.sum);
    r->batch_us = luaL_optinteger(L, 3, r->batch_us);
    return 2;
}

/* sim:clock([us]): both clocks stand there; without, they go on */
int sim_clock(lua_State *L) {
    sim_check(L);
    if (lua_isnoneornil(L, 2)) clock_release();
    else clock_hold(luaL_checkinteger(L, 2), 0);
    return 0;
}
