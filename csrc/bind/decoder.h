/* core.decoder: reads a compressed body as its bytes come, for the test kit. */
#ifndef SLUICE_BIND_DECODER_H
#define SLUICE_BIND_DECODER_H

#include <lua.h>

int lx_decoder_new(lua_State *L); /* core.decoder("gzip" | "zstd") -> decoder */

#endif
