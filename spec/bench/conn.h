/* One SSE stream as a client sees it: the response head, the chunks, the preamble, and
 * then either every event (parsed streams) or a checksum of the bytes (the others). Knows
 * no sockets. */
#ifndef BENCH_CONN_H
#define BENCH_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frames.h"
#include "tally.h"
#include "track.h"

/* A smaller chunk holds no event of ours (they are padded): a heartbeat or a sync, which
 * each stream gets at a time of its own and which no checksum may cover. */
#define CONN_CONTROL_MAX 100

enum conn_state {
    CONN_CLOSED,
    CONN_CONNECTING,
    CONN_HEAD, /* reading the response head */
    CONN_SIZE, /* reading the size of a chunk */
    CONN_DATA,
    CONN_DATA_END, /* the CRLF behind a chunk */
    CONN_PLAIN,    /* the body is not chunked */
    CONN_OVER      /* the last chunk has come */
};

struct conn {
    int fd;
    enum conn_state state;
    bool ready;           /* the preamble is behind us */
    bool late;            /* joined after the first event: its checksum means nothing */
    bool held;            /* has what it wanted and stays open */
    int newlines;         /* in a row, in the preamble */
    uint64_t left, chunk; /* of this chunk: bytes to come, size */
    uint64_t began_ns, rx_ns;
    uint64_t body_bytes;
    uint32_t crc;
    char *head;
    size_t head_n;
    struct frames frames; /* of HTTP/2 */
    uint64_t wanted;      /* events of this connection until it is done */
    struct track *track;  /* NULL: checksum only */
};

/* Start reading a new response. */
void conn_begin(struct conn *c, uint64_t now_ns);
/* Take n bytes that arrived at now_ns (borrows). Returns false when this is no stream. */
bool conn_feed(struct conn *c, struct tally *t, const char *p, size_t n, uint64_t now_ns);

#endif
