/* The userdata; see decoder.h. */
#include "bind/decoder.h"

#include "base/status.h"
#include "bind/l_aux.h"
#include "edge/decoder.h"

#define TYPE "sluice.decoder"

/* decoder:close(), also __gc */
static int l_close(lua_State *L) {
    decoder_deinit(luaL_checkudata(L, 1, TYPE));
    return 0;
}

/* decoder:feed(bytes[, most]) -> what they make, at most so many bytes, and whether more may be
 * there, which feed("") gives | nil, message, code */
static int l_feed(lua_State *L) {
    struct decoder *d = luaL_checkudata(L, 1, TYPE);
    struct slice in = lx_checkslice(L, 2);
    lua_Integer most = luaL_optinteger(L, 3, INT32_MAX);
    luaL_argcheck(L, most > 0 && most <= INT32_MAX, 3, "a size is expected");
    luaL_argcheck(L, decoder_is_open(d), 1, "the decoder is closed");
    bool gzip = d->gzip != NULL;
    struct buf *out = lx_newbuf(L);
    int more = decoder_feed(d, in);
    if (more == 0) more = decoder_read(d, out, (size_t)most);
    if (more == E_INVAL)
        return lx_fail_text(L, more, gzip ? "this is no gzip" : "this is no zstd");
    if (more < 0) return lx_fail(L, more);
    lx_pushslice(L, buf_slice(out));
    buf_free(out);
    lua_pushboolean(L, more);
    return 2;
}

/* decoder:is_whole() -> whether a body may end here: not within a block or a frame */
static int l_is_whole(lua_State *L) {
    const struct decoder *d = luaL_checkudata(L, 1, TYPE);
    lua_pushboolean(L, d->whole && d->used == d->in.n);
    return 1;
}

static void new_type(lua_State *L) {
    static const luaL_Reg methods[] = {{"feed", l_feed},
                                       {"is_whole", l_is_whole},
                                       {"close", l_close},
                                       {"__gc", l_close},
                                       {NULL, NULL}};
    lx_newtype(L, TYPE, methods);
}

int lx_decoder_new(lua_State *L) {
    static const char *const names[] = {"gzip", "zstd", NULL};
    int coding = luaL_checkoption(L, 1, NULL, names);
    bool members = lua_toboolean(L, 2);
    struct decoder *d = lua_newuserdatauv(L, sizeof *d, 0);
    *d = (struct decoder){0};
    new_type(L);
    luaL_setmetatable(L, TYPE);
    int err = decoder_init(d, coding == 0 ? DECODER_GZIP : DECODER_ZSTD, members);
    return err < 0 ? lx_fail(L, err) : 1;
}
