/* Decoders over zlib and libzstd; see decoder.h. */
#include "edge/decoder.h"

#include "base/mem.h"
#include "base/status.h"

#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

#define PIECE 16384         /* bytes that are made at a time */
#define WINDOW_BITS_MOST 23 /* RFC 9659 */
#define GZIP_HEADER_TOO 16  /* zlib's way to say so, beside the window */

/* In z_stream.data_type: inflate has come to the first bit of a block; bits that it holds. */
#define BEFORE_BLOCK 128
#define BITS_HELD 63

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

int decoder_init(struct decoder *d, enum decoder_coding coding, bool members) {
    *d = (struct decoder){.members = members, .whole = true};
    return coding == DECODER_GZIP ? begin_gzip(d) : begin_zstd(d);
}

void decoder_deinit(struct decoder *d) {
    if (d->gzip) inflateEnd(d->gzip);
    mem_free(d->gzip);
    ZSTD_freeDStream(d->zstd);
    buf_free(&d->in);
    *d = (struct decoder){0};
}

int decoder_feed(struct decoder *d, struct slice bytes) {
    if (d->used > 0) buf_shift(&d->in, d->used);
    d->used = 0;
    return buf_add(&d->in, bytes.p, bytes.n);
}

static struct slice fed(const struct decoder *d) {
    return slice_of(d->in.p + d->used, d->in.n - d->used);
}

/* ---- A piece: *n bytes of room become *n bytes that were made, also before a mistake ---- */

static int read_gzip(struct decoder *d, char *room, size_t *n) {
    struct slice in = fed(d);
    z_stream *z = d->gzip;
    z->next_in = (const unsigned char *)in.p;
    z->avail_in = (unsigned)in.n;
    z->next_out = (unsigned char *)room;
    z->avail_out = (unsigned)*n;
    int result = inflate(z, Z_SYNC_FLUSH);
    bool full = z->avail_out == 0, left = z->avail_in > 0;
    d->used = d->in.n - z->avail_in;
    *n -= z->avail_out;
    if (result == Z_MEM_ERROR) return E_NOMEM;
    if (result != Z_STREAM_END && result != Z_OK && result != Z_BUF_ERROR) return E_INVAL;
    bool ends = (z->data_type & BEFORE_BLOCK) && !(z->data_type & BITS_HELD);
    bool stays = result == Z_BUF_ERROR && d->whole; /* it says so once */
    d->whole = result == Z_STREAM_END || ends || stays;
    if (result != Z_STREAM_END) return left || full;
    if (left && (!d->members || inflateReset(z) != Z_OK)) return E_INVAL;
    return left;
}

static int read_zstd(struct decoder *d, char *room, size_t *n) {
    struct slice in = fed(d);
    ZSTD_inBuffer from = {in.p, in.n, 0};
    ZSTD_outBuffer to = {room, *n, 0};
    size_t result = ZSTD_decompressStream(d->zstd, &to, &from);
    bool full = to.pos == to.size;
    d->used += from.pos;
    *n = to.pos;
    if (ZSTD_isError(result)) return E_INVAL;
    if (from.pos > 0 || to.pos > 0) d->whole = result == 0;
    return from.pos < from.size || full;
}

int decoder_read(struct decoder *d, struct buf *out, size_t most) {
    size_t before = out->n;
    int more = d->err < 0 ? d->err : 1;
    while (more > 0 && most > 0) {
        size_t n = most < PIECE ? most : PIECE;
        int err = buf_reserve(out, n);
        if (err < 0) return err;
        char *room = out->p + out->n;
        more = d->gzip ? read_gzip(d, room, &n) : read_zstd(d, room, &n);
        out->n += n;
        most -= n;
    }
    if (more < 0) d->err = more;
    return more < 0 && out->n > before ? 1 : more;
}
