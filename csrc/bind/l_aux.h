/* Helpers that all bindings share: arguments in, failures out.
 *
 * Order inside a binding: check every argument (may raise), then act, then push. Nothing
 * raises while memory, a reference or a lock is held: nearly every push may, since it may
 * allocate, and run finalizers of the app besides. Scratch memory is a userdata; what must be
 * freed hangs on a box. */
#ifndef SLUICE_BIND_L_AUX_H
#define SLUICE_BIND_L_AUX_H

#include "base/buf.h"
#include "base/slice.h"
#include "fan/plan.h"
#include "fan/policy.h"
#include "fan/stream.h"

#include <lauxlib.h>
#include <lua.h>

#define LX_EXPORT __attribute__((visibility("default")))

/* Push nil, message, code for a status; the message may be given. Returns 3. */
int lx_fail(lua_State *L, int err);
int lx_fail_text(lua_State *L, int err, const char *message);

/* The same for an event that was refused: what of it, and what was counted. */
int lx_fail_event(lua_State *L, int err, const struct event *event);

/* A string argument, borrowed while it stays on the stack. */
struct slice lx_checkslice(lua_State *L, int index);
struct slice lx_optslice(lua_State *L, int index); /* nil: an empty slice */

/* Fields of the table at 'index' (absolute). Absent: the default. A wrong type raises
 * and names the field. Slices are borrowed while the table holds the string. */
struct slice lx_field_slice(lua_State *L, int index, const char *name);
double lx_field_number(lua_State *L, int index, const char *name, double absent);
bool lx_field_bool(lua_State *L, int index, const char *name, bool absent);

/* Seconds above 0 as milliseconds, at least 1; 0 for others. */
int64_t lx_ms(double seconds);

/* Zeroed scratch memory on the stack: freed by the collector, so raising is safe. */
void *lx_scratch(lua_State *L, size_t size);

/* Zeroed memory on the stack that 'gc' is called with, as a __gc, when it is collected. */
void *lx_box(lua_State *L, size_t size, lua_CFunction gc);

/* An empty buffer in a box on the stack. Freed by hand it is gone at once. */
struct buf *lx_newbuf(lua_State *L);

/* Names, each with a NUL behind it, are gathered in such a buffer while something is walked
 * that a finalizer could change; then they are pushed as a list, and the buffer is freed. */
void lx_addname(lua_State *L, struct buf *names, struct slice name);
void lx_pushnames(lua_State *L, struct buf *names);

/* The channels of a plan: { channels = { "a" | { "b", keys =, types =, max_rate =, rewind = } },
 * keys =, types =, max_rate =, rewind =, heartbeat =, control =, expires = }.
 * Pushes one scratch value that 'subs' lives in. */
struct plan_spec lx_checkplan(lua_State *L, int index);

/* A plan that names a few channels, and a heartbeat at most: what functions usually return. */
#define PLAN_USUAL_MAX 8
struct usual_plan {
    struct plan_spec spec;
    struct sub_spec subs[PLAN_USUAL_MAX];
};

/* False: it is another one, or wrong. 'index' is no relative one; the names stay the table's. */
bool lx_testplan(lua_State *L, int index, struct usual_plan *out);

/* core.usual_plan(given) -> a copy of its channels, heartbeat | nothing: it is another one */
int lx_usual_plan(lua_State *L);

/* One channel with its options, as in a plan. Pushes scratch. */
struct sub_spec lx_checkspec(lua_State *L, int index);

/* What a stream wants of all its channels: { keys =, types =, max_rate = }. Pushes
 * scratch. */
struct sub_spec lx_checkwanted(lua_State *L, int index);

/* A list of names or nil. Pushes scratch. */
struct filter_list lx_checklist(lua_State *L, int index, const char *name);

/* A list of policies; see lua/sluice/app/channels.lua for the options. Returns owned. */
struct policy_set *lx_checkpolicies(lua_State *L, int index);

/* "log", "state" or "keyed". */
const char *lx_kind_name(enum channel_kind kind);

/* Push the text of the number at 'index', as in JSON. */
void lx_pushnumber(lua_State *L, int index);

void lx_pushslice(lua_State *L, struct slice s);

/* Fields of the table on top. */
void lx_set_integer(lua_State *L, const char *name, uint64_t value);
void lx_set_number(lua_State *L, const char *name, double value);
void lx_set_boolean(lua_State *L, const char *name, bool value);

/* A type of userdata with these methods, unless it is there. */
void lx_newtype(lua_State *L, const char *name, const luaL_Reg *methods);

/* { memory, frames, blocks }: what is allocated now. */
void lx_pushalive(lua_State *L);

#endif
