/* The userdata; see decoder.h. It reads as strictly as a browser does: one gzip header and no second
 * member, zstd windows up to 8 MB. What it gives is as large as the sender made it. */
#include "bind/decoder.h"

#include "base/mem.h"
#include "base/status.h"
#include "bind/l_aux.h"

#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

#define TYPE "sluice.decoder"
#define PIECE 16384         /* bytes that are decoded at a time */
#define WINDOW_BITS_MOST 23 /* RFC 9659 */
#define GZIP_HEADER_TOO 16  /* zlib's way to say so, beside the window */

struct decoder {
    z_stream *gzip;
    ZSTD_DStream *zstd;
};

static void *give(void *unused, unsigned items, unsigned size) {
    (void)unused;
    return mem_try((size_t)items * size);
}

static void take(void *unused, void *p) {
    (void)unused;
    mem_free(p);
}

static int begin_gzip(struct decoder *d) {
    z_stream *z = mem_try(sizeof *z);
    if (!z) return E_NOMEM;
    *z = (z_stream){.zalloc = give, .zfree = take};
    if (inflateInit2(z, MAX_WBITS + GZIP_HEADER_TOO) != Z_OK) {
        mem_free(z);
        return E_NOMEM;
    }
    d->gzip = z;
    return 0;
}

static int begin_zstd(struct decoder *d) {
    d->zstd = ZSTD_createDStream();
    if (!d->zstd) return E_NOMEM;
    ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax, WINDOW_BITS_MOST);
    return 0;
}

/* decoder:close(), also __gc */
static int l_close(lua_State *L) {
    struct decoder *d = luaL_checkudata(L, 1, TYPE);
    if (d->gzip) inflateEnd(d->gzip);
    mem_free(d->gzip);
    ZSTD_freeDStream(d->zstd);
    *d = (struct decoder){0};
    return 0;
}

/* Each appends a piece. 1: there may be more of it; 0; or a negative code. */

static int read_gzip(struct decoder *d, struct slice *in, struct buf *out) {
    z_stream *z = d->gzip;
    z->next_in = (const unsigned char *)in->p;
    z->avail_in = (unsigned)in->n;
    z->next_out = (unsigned char *)out->p + out->n;
    z->avail_out = PIECE;
    int result = inflate(z, Z_SYNC_FLUSH);
    *in = slice_of((const char *)z->next_in, z->avail_in);
    out->n += PIECE - z->avail_out;
    if (result == Z_STREAM_END) return in->n > 0 ? E_INVAL : 0; /* a second member */
    if (result == Z_MEM_ERROR) return E_NOMEM;
    if (result != Z_OK && result != Z_BUF_ERROR) return E_INVAL;
    return in->n > 0 || z->avail_out == 0;
}

static int read_zstd(struct decoder *d, struct slice *in, struct buf *out) {
    ZSTD_inBuffer from = {in->p, in->n, 0};
    ZSTD_outBuffer to = {out->p + out->n, PIECE, 0};
    size_t result = ZSTD_decompressStream(d->zstd, &to, &from);
    if (ZSTD_isError(result)) return E_INVAL;
    *in = slice_of(in->p + from.pos, in->n - from.pos);
    out->n += to.pos;
    return in->n > 0 || to.pos == PIECE;
}

/* decoder:feed(bytes) -> what they make | nil, message, code */
static int l_feed(lua_State *L) {
    struct decoder *d = luaL_checkudata(L, 1, TYPE);
    struct slice in = lx_checkslice(L, 2);
    luaL_argcheck(L, d->gzip || d->zstd, 1, "the decoder is closed");
    struct buf *out = lx_newbuf(L);
    int more = 1;
    while (more > 0) {
        more = buf_reserve(out, PIECE);
        if (more == 0) more = d->gzip ? read_gzip(d, &in, out) : read_zstd(d, &in, out);
    }
    if (more == E_INVAL)
        return lx_fail_text(L, more, d->gzip ? "this is no gzip" : "this is no zstd");
    if (more < 0) return lx_fail(L, more);
    lx_pushslice(L, buf_slice(out));
    buf_free(out);
    return 1;
}

static void new_type(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"feed", l_feed}, {"close", l_close}, {"__gc", l_close}, {NULL, NULL}};
    if (luaL_newmetatable(L, TYPE)) {
        luaL_setfuncs(L, methods, 0);
        lua_pushvalue(L, -1);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
}

int lx_decoder_new(lua_State *L) {
    static const char *const names[] = {"gzip", "zstd", NULL};
    int coding = luaL_checkoption(L, 1, NULL, names);
    struct decoder *d = lua_newuserdatauv(L, sizeof *d, 0);
    *d = (struct decoder){0};
    new_type(L);
    luaL_setmetatable(L, TYPE);
    int err = coding == 0 ? begin_gzip(d) : begin_zstd(d);
    return err < 0 ? lx_fail(L, err) : 1;
}
