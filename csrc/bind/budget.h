/* Against scripts that run away: a budget of processor time between two suspension
 * points, and a cap on the Lua heap.
 *
 * Nothing is counted while a script runs. A POSIX timer on the app thread's own CPU clock
 * sends that thread a signal for every 50 ms it computed; the handler counts them, and
 * past the budget it hooks the coroutine that runs, exactly as lua.c does for Ctrl-C. So
 * an idle server gets no signal, and a handler within its budget pays nothing.
 *
 * The first trip raises and leaves some time for <close> variables; later ones raise at
 * once, so that a loop that swallows errors ends too. Which coroutine runs is known because
 * coroutines of the app are resumed through core.resume. One that the app made itself is
 * closed from outside where that is possible: Lua runs no hook while it unwinds from one, and
 * a coroutine that died so would run its <close> variables without a budget. For the same
 * reason the app's xpcall asks no message handler about a trip.
 *
 * Our own functions are not stopped in the middle: the next line of the app is, unless they
 * go on for a million instructions.
 *
 * Where Lua runs no hook (a C function, a finalizer) nothing can be stopped: streams continue
 * without the app, and run/stall.h logs while it lasts what holds it up. */
#ifndef SLUICE_BIND_BUDGET_H
#define SLUICE_BIND_BUDGET_H

#include <lua.h>
#include <stdbool.h>

/* Set up for the thread that calls; seconds <= 0: no budget. 0 or a negative errno: then
 * nothing is stopped. */
int budget_setup(lua_State *L, double budget_seconds);

/* Cap the Lua heap while a script runs; 0: no cap. */
void budget_limit_memory(lua_State *L, size_t bytes);

/* What the loop calls into Lua stands between these two, whatever becomes of it. */
struct budget_mark {
    int stall, depth;
};
struct budget_mark budget_begin(void);
void budget_end(struct budget_mark mark);

/* Whether this coroutine of the app can wait here: the runtime resumed it, nobody else. */
bool budget_can_wait(lua_State *L);

/* Put resume, wrap, close, budget_enter, … into the table on top of the stack. */
void budget_add_functions(lua_State *L);

#endif
