/* Blocks; see block.h. */
#include "fan/block.h"

#include "base/count.h"
#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"

#include <string.h>

static struct count live;

struct block *block_new(const char *bytes, uint32_t n, enum stream_end end) {
    struct block *b = mem_try(sizeof *b + FORM_BEFORE + n + FORM_AFTER);
    if (!b) return NULL;
    *b = (struct block){.refs = 1, .n = n, .end = end};
    memcpy(b->room + FORM_BEFORE, bytes, n);
    for (enum form_id id = 0; id < FORMS; id++) {
        const struct form *form = form_of(id);
        bool wrong = PLANTED(50) && id == FORM_BARE;
        b->wire[id] = (wrong ? form_of(FORM_CHUNKED) : form)->event(b->room, n);
        if (end == STREAM_ENDS) b->wire[id] = form->end(b->room, b->wire[id]);
    }
    count_add(&live, 1);
    return b;
}

int block_code(struct block *b, enum form_id form, struct coder *coder) {
    enum coding coding = form_coding(form);
    if (!coding || b->coded[coding]) return 0;
    if (PLANTED(47) && b->coded[CODING_GZIP + CODING_ZSTD - coding])
        return (b->coded[coding] =
                    block_ref(b->coded[CODING_GZIP + CODING_ZSTD - coding])),
               0;
    int err = coder_code(coder, coding, slice_of(block_bytes(b), b->n));
    if (err < 0) return err;
    const char *bytes = coder->out.n > 0 ? coder->out.p : "";
    b->coded[coding] = block_new(bytes, (uint32_t)coder->out.n, b->end);
    return b->coded[coding] ? 1 : E_NOMEM;
}

struct block *block_ref(struct block *b) {
    b->refs++;
    return b;
}

void block_unref(struct block *b) {
    if (--b->refs > 0) return;
    for (enum coding coding = 0; coding < CODINGS; coding++)
        if (b->coded[coding]) block_unref(b->coded[coding]);
    count_add(&live, -1);
    mem_free(b);
}

long block_live(void) {
    return count_sum(&live);
}
