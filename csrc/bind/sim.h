/* The cursor core without sockets, threads or a clock; a part of sluice.core.testing. */
#ifndef SLUICE_BIND_SIM_H
#define SLUICE_BIND_SIM_H

#include "fan/fan.h"
#include "fan/history.h"
#include "fan/seq.h"

#include <lua.h>

#define THREADS_MAX 4

struct replica {
    bool delayed; /* what is sent is queued until the end of a flush */
    struct list queued;
    uint32_t unsent;  /* of these, blocks that have not entered the kernel */
    int64_t batch_us; /* that a batch takes there */
    struct histogram latency;
    struct fan fan;
    struct loop loop; /* never run: its owner and its mailbox */
    struct fan_history history;
    struct page_request *asked; /* that are not answered, the newest first */
};

struct sim {
    bool open;
    unsigned streams; /* open now */
    struct sequencer seq;
    unsigned n;
    struct replica replicas[THREADS_MAX];
    struct frame *group[64];
    uint32_t group_n;
    bool in_flight;
};

/* Its two userdata types, once in a state. */
void sim_types(lua_State *L);

/* testing.sim(threads[, seed[, delayed[, held[, epoch, head]]]]) */
int sim_new(lua_State *L);

struct sim *sim_check(lua_State *L); /* argument 1 */
struct replica *sim_check_replica(lua_State *L, struct sim *sim, int index);

/* What durable logs have beyond memory: sim_history.c. */
void sim_history_init(struct replica *r, uint32_t held);
void sim_history_deinit(struct replica *r);
int sim_restore(lua_State *L), sim_pages(lua_State *L), sim_answer(lua_State *L);
int sim_paging(lua_State *L), sim_restore_pattern(lua_State *L);
struct fan_conversion *sim_check_conversion(lua_State *L, struct sim *sim);
/* How long events took: sim_latency.c. */
void sim_latency_init(struct replica *r);
void sim_enter_kernel(struct replica *r);
int sim_latencies(lua_State *L), sim_clock(lua_State *L);

/* What a cluster brings: sim_shared.c. */
int sim_give(lua_State *L), sim_fills(lua_State *L), sim_adopt(lua_State *L);
int sim_mark(lua_State *L), sim_know(lua_State *L), sim_share(lua_State *L);

/* The last one frees it. */
void sim_take_conversion(struct replica *r, struct fan_conversion *c);

#endif
