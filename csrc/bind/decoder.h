/* core.decoder: a compressed body as its bytes come; see edge/decoder.h. */
#ifndef SLUICE_BIND_DECODER_H
#define SLUICE_BIND_DECODER_H

#include <lua.h>

/* core.decoder("gzip" | "zstd"[, members]) -> decoder; whether a body of gzip may have several
 * members: browsers take one */
int lx_decoder_new(lua_State *L);

#endif
