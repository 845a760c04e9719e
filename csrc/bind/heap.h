/* The allocator of the Lua heap: small objects come from pools, up to HEAP_POOLED bytes of them.
 *
 * Each request leaves some fifty small objects behind. Lua says how large an object is when it
 * frees it, so these need no header and no search: a pool of each size, in one piece of address
 * space that tells which objects are in it. What is larger, what is beyond that piece and what
 * was there before is the C library's. The pages stay: they are few. Under the address sanitizer
 * every object is an allocation of its own. [the app's thread] */
#ifndef SLUICE_BIND_HEAP_H
#define SLUICE_BIND_HEAP_H

#include <lua.h>

/* From now on, for the first state that asks. */
void heap_pool(lua_State *L);

#endif
