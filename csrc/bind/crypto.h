/* sluice.core: digests, keys, signatures and hashes of passwords. lua/sluice/crypto.lua is
 * what programs see. */
#ifndef SLUICE_BIND_CRYPTO_H
#define SLUICE_BIND_CRYPTO_H

#include <lua.h>

/* Put them into the table on top of the stack. */
void crypto_add_functions(lua_State *L);

#endif
