/* The cursor core without sockets, threads or a clock; a part of sluice.core.testing. */
#ifndef SLUICE_BIND_SIM_H
#define SLUICE_BIND_SIM_H

#include <lua.h>

/* Its two userdata types, once in a state. */
void sim_types(lua_State *L);

/* testing.sim(threads[, seed[, delayed]]) */
int sim_new(lua_State *L);

#endif
