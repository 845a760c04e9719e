/* Deflate and zstd; see coder.h.
 *
 * What one call costs is bounded by the size of its input (GATHER_BYTES_MAX, or one larger event):
 * some 70 us for a full block; larger ones are compressed less well, for about twice that. */
#include "fan/coder.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"
#include "fan/unnamed.h"

#include <assert.h>
#include <stdint.h>
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

void coder_deinit(struct coder *c) {
    if (c->deflate) deflateEnd(c->deflate);
    mem_free(c->deflate);
    ZSTD_freeCCtx(c->zstd);
    buf_free(&c->out);
    *c = (struct coder){0};
}

/* ---- Deflate ------------------------------------------------------------------------ */

static void *give(void *unused, unsigned items, unsigned size) {
    (void)unused;
    return mem_try((size_t)items * size);
}

static void take(void *unused, void *p) {
    (void)unused;
    mem_free(p);
}

static int begin_deflate(struct coder *c, int level) {
    if (!c->deflate) {
        z_stream *z = mem_try(sizeof *z);
        if (!z) return E_NOMEM;
        *z = (z_stream){.zalloc = give, .zfree = take};
        if (deflateInit2(z, level, Z_DEFLATED, -MAX_WBITS, MAX_MEM_LEVEL - 1,
                         Z_DEFAULT_STRATEGY) != Z_OK) {
            mem_free(z);
            return E_NOMEM;
        }
        c->deflate = z;
        c->level = level;
    }
    if (!PLANTED(48)) deflateReset(c->deflate);
    if (c->level != level) deflateParams(c->deflate, level, Z_DEFAULT_STRATEGY);
    c->level = level;
    return 0;
}

#define STORED_MAX 65535 /* bytes of a stored block */
#define STORED_HEAD 5    /* 00, the length, and its complement */

static size_t stored_size(size_t n) {
    return n + (n + STORED_MAX - 1) / STORED_MAX * STORED_HEAD;
}

/* Stored blocks: of what is too short, or does not get shorter. */
static void store(struct buf *out, struct slice in) {
    for (out->n = 0; in.n > 0;) {
        size_t n = in.n < STORED_MAX ? in.n : STORED_MAX;
        const unsigned char low = n & 255, high = n >> 8 & 255;
        const unsigned char head[] = {0, low, high, low ^ 255, high ^ 255};
        int err = buf_add(out, head, sizeof head);
        if (err == 0) err = buf_add(out, in.p, n);
        assert(err == 0); /* there is room */
        (void)err;
        in = slice_of(in.p + n, in.n - n);
    }
}

static int deflate_block(struct coder *c, struct slice in) {
    int level = in.n > GATHER_BYTES_MAX ? DEFLATE_LEVEL_LARGE : DEFLATE_LEVEL;
    int err = begin_deflate(c, level);
    size_t most = stored_size(in.n);
    if (err == 0) err = buf_reserve(&c->out, most);
    if (err < 0) return err;
    z_stream *z = c->deflate;
    z->next_in = (const unsigned char *)in.p;
    z->avail_in = (unsigned)in.n;
    z->next_out = (unsigned char *)c->out.p;
    z->avail_out = (unsigned)most;
    int flush = PLANTED(48) ? Z_SYNC_FLUSH : Z_FULL_FLUSH;
    bool shorter = in.n >= DEFLATE_LEAST && deflate(z, flush) == Z_OK &&
                   z->avail_in == 0 && (z->avail_out > 0 || PLANTED(49));
    c->out.n = most - z->avail_out;
    if (!shorter) store(&c->out, in);
    return 0;
}

/* ---- Zstd --------------------------------------------------------------------------- */

static int zstd_frame(struct coder *c, struct slice in) {
    if (!c->zstd && !(c->zstd = ZSTD_createCCtx())) return E_NOMEM;
    int level = in.n > GATHER_BYTES_MAX ? ZSTD_LEVEL_LARGE : ZSTD_LEVEL;
    ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_windowLog, ZSTD_WINDOW_BITS);
    int err = buf_reserve(&c->out, ZSTD_compressBound(in.n));
    if (err < 0) return err;
    size_t n = ZSTD_compress2(c->zstd, c->out.p, c->out.cap, in.p, in.n);
    if (ZSTD_isError(n)) return E_NOMEM; /* all else is known to be right */
    c->out.n = n;
    return 0;
}

int coder_code(struct coder *c, enum coding coding, struct slice in) {
    c->out.n = 0;
    if (in.n == 0) return 0;
    if (coding == CODING_UNNAMED) return unnamed(&c->out, in);
    return coding == CODING_GZIP ? deflate_block(c, in) : zstd_frame(c, in);
}
