/* Many SSE streams on one epoll: what a worker process of the load generator runs. */
#ifndef BENCH_SWARM_H
#define BENCH_SWARM_H

#include <stdbool.h>
#include <stdint.h>

#include "tally.h"

enum swarm_mode {
    SWARM_HONEST, /* reads at once */
    SWARM_SLOW,   /* reads slow_bytes a second of each stream */
    SWARM_STALLED /* never reads, not even the response head */
};

struct swarm_options {
    const char *host, *path, *last_event_id; /* {i} in path: the number of the stream */
    uint16_t port;
    uint32_t streams, first; /* how many, and the number of the first */
    uint32_t parse_percent;  /* of the streams; at least one is parsed */
    uint32_t rate;           /* connects a second; 0: as fast as it goes */
    uint32_t head_bytes;     /* pad the request head to this size */
    uint32_t slow_bytes;
    uint32_t receive_buffer; /* SO_RCVBUF; 0 leaves it */
    uint32_t source;         /* connect from 127.0.0.source; 0 leaves it */
    int64_t until;   /* a stream is done after this many events (0: hello); -1: never */
    uint64_t gap_ns; /* count silences longer than this; 0: do not */
    bool hold;       /* streams that are done stay open */
    bool rounds;     /* keep the rounds of the tally */
    bool secure;     /* over TLS */
    bool frames;     /* ... and HTTP/2, a connection each */
    enum swarm_mode mode;
};

/* Serve the streams until tally->quit is set. Counts into 't'. */
void swarm_run(const struct swarm_options *o, struct tally *t);

#endif
