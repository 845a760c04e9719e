/* A block: what one stream is sent in one turn, gathered once for all streams that
 * stand at the same place.
 *
 * It holds whole events, with room for the head and the tail of an HTTP chunk around
 * them, so that one send() of one stretch of memory carries it. A socket that takes
 * only a part pins the block, never the frames of a ring. Counted without atomics: a
 * block belongs to one thread. */
#ifndef SLUICE_FAN_BLOCK_H
#define SLUICE_FAN_BLOCK_H

#include <stdint.h>

#define BLOCK_HEAD 8 /* up to six hex digits and CRLF */
#define BLOCK_TAIL 2 /* CRLF */
#define BLOCK_LAST 5 /* the last chunk, behind a block that ends a stream well */

enum stream_end {
    STREAM_GOES_ON,
    STREAM_BREAKS, /* FIN without a last chunk: an error to the client, which comes back */
    STREAM_ENDS    /* the last chunk, then FIN */
};

struct block {
    uint32_t refs;
    uint32_t n; /* bytes of events */
    uint32_t events;
    enum stream_end end; /* after this block the stream ends */
    char room[];         /* BLOCK_HEAD + n + BLOCK_TAIL + BLOCK_LAST */
};

/* Copies n bytes. NULL when memory is out. */
struct block *block_new(const char *bytes, uint32_t n);
struct block *block_ref(struct block *b);
void block_unref(struct block *b);

static inline char *block_bytes(struct block *b) {
    return b->room + BLOCK_HEAD;
}

/* Blocks alive in all threads, and their bytes. */
long block_live(void);

#endif
