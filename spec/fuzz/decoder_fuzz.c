/* Fuzz target for csrc/edge/decoder.c: a body that somebody else compressed is read to the same bytes
 * and the same end whether it comes at once or in pieces, never more at a time than is asked for;
 * and what our own compressor (fan/coder.c) makes of any bytes is read back as those bytes.
 *
 * Input: a byte of flags, how much comes and how much is asked for at a time, then the body. */
#include "base/status.h"
#include "edge/decoder.h"
#include "fan/coder.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MADE_MAX (1 << 20) /* of one that grows more than that, the beginning is enough */

#define MUST(fact)                                                             \
    do {                                                                       \
        if (!(fact)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #fact); \
            abort();                                                           \
        }                                                                      \
    } while (0)

struct outcome {
    struct buf text;
    int err;
    bool whole;
};

/* All that can be made of what came so far. */
static void read_all(struct decoder *d, size_t most, struct outcome *o) {
    int more = 1;
    while (more > 0 && o->text.n < MADE_MAX) {
        size_t before = o->text.n;
        more = decoder_read(d, &o->text, most);
        MUST(o->text.n - before <= most);
    }
    if (more < 0) o->err = more;
}

static struct outcome decode(enum decoder_coding coding, bool members, struct slice body,
                             size_t step, size_t most) {
    struct decoder d;
    struct outcome o = {0};
    MUST(decoder_init(&d, coding, members) == 0);
    MUST(d.whole);
    while (body.n > 0 && o.err == 0 && o.text.n < MADE_MAX) {
        size_t n = step < body.n ? step : body.n;
        MUST(decoder_feed(&d, slice_of(body.p, n)) == 0);
        body = slice_of(body.p + n, body.n - n);
        read_all(&d, most, &o);
    }
    o.whole = d.whole && d.used == d.in.n;
    decoder_deinit(&d);
    return o;
}

/* How much comes before a mistake may differ: libzstd decodes a frame that is there as one. */
static void check_same(struct outcome *a, struct outcome *b) {
    bool cut = a->text.n >= MADE_MAX || b->text.n >= MADE_MAX;
    size_t n = a->text.n < b->text.n ? a->text.n : b->text.n;
    MUST(n == 0 || memcmp(a->text.p, b->text.p, n) == 0);
    MUST(cut || a->err == b->err);
    MUST(cut || a->err < 0 || (a->text.n == b->text.n && a->whole == b->whole));
    buf_free(&a->text);
    buf_free(&b->text);
}

static void check_our_own(struct slice text, size_t step, size_t most) {
    static const char header[] = "\x1f\x8b\x08\0\0\0\0\0\0\xff";
    for (enum coding coding = CODING_GZIP; coding < CODINGS; coding++) {
        struct coder c = {0};
        struct buf body = {0};
        if (coding == CODING_GZIP) MUST(buf_add(&body, header, 10) == 0);
        for (int i = 0; i < 2; i++) {
            MUST(coder_code(&c, coding, text) == 0);
            if (c.out.n > 0) MUST(buf_add(&body, c.out.p, c.out.n) == 0);
        }
        struct outcome o = decode(coding == CODING_GZIP ? DECODER_GZIP : DECODER_ZSTD,
                                  false, buf_slice(&body), step, most);
        MUST(o.err == 0 && o.whole && o.text.n == 2 * text.n);
        for (int i = 0; i < 2 && text.n > 0; i++)
            MUST(memcmp(o.text.p + (size_t)i * text.n, text.p, text.n) == 0);
        buf_free(&o.text);
        buf_free(&body);
        coder_deinit(&c);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3) return 0;
    size_t step = data[1] + 1u, most = (size_t)data[2] * 16 + 1;
    struct slice body = slice_of((const char *)data + 3, size - 3);
    enum decoder_coding coding = data[0] & 1 ? DECODER_ZSTD : DECODER_GZIP;
    bool members = data[0] & 2;
    struct outcome whole = decode(coding, members, body, body.n + 1, MADE_MAX);
    struct outcome pieces = decode(coding, members, body, step, most);
    check_same(&whole, &pieces);
    check_our_own(body, step, most);
    return 0;
}
