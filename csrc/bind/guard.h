/* The guard against scripts that run away: a budget of processor time between two
 * suspension points, and a cap on the Lua heap.
 *
 * Nothing is counted while a script runs. A POSIX timer on the app thread's own CPU clock
 * sends that thread a signal for every 50 ms it computed; the handler counts them, and
 * past the budget it hooks the coroutine that runs, exactly as lua.c does for Ctrl-C. So
 * an idle server gets no signal, and a handler within its budget pays nothing.
 *
 * The first trip raises and leaves a million instructions for <close> variables; later
 * ones raise at once, so that a loop that swallows errors ends too. Which coroutine runs
 * is known because coroutines of the app are resumed through core.resume.
 *
 * C code cannot be stopped (a pattern that backtracks, a blocking read): streams go on
 * without the app, and the runtime says afterwards who held it up. */
#ifndef SLUICE_BIND_GUARD_H
#define SLUICE_BIND_GUARD_H

#include <lua.h>

/* Set up for the thread that calls; seconds <= 0: no budget. 0 or a negative errno. */
int guard_setup(lua_State *L, double budget_seconds);

/* Cap the Lua heap while a script runs; 0: no cap. */
void guard_limit_memory(lua_State *L, size_t bytes);

/* Put resume, wrap, close, guard_enter, … into the table on top of the stack. */
void guard_add_functions(lua_State *L);

#endif
