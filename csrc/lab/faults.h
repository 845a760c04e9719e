/* What a bad network does, as numbers: the options of `sluice lab`. 0: it does not. */
#ifndef SLUICE_LAB_FAULTS_H
#define SLUICE_LAB_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

struct lab_faults {
    /* Each way, of each connection. */
    int64_t latency_ms,
        jitter_ms;     /* a piece comes so much later, and up to so much more */
    int64_t bandwidth; /* bytes a second */
    /* What the client gets. */
    int64_t hold_ms; /* bytes are gathered for so long and come together */
    bool byte_at_a_time;
    /* The network as a whole; times between two of a kind vary by a half either way. */
    int64_t cut_ms;                   /* connections end about so often */
    int64_t stall_ms, stall_every_ms; /* nothing moves for so long, about so often */
    int64_t away_ms, away_every_ms;   /* the server is away: connections end, then 502 */
    /* One connection. */
    int64_t idle_ms; /* it ends when nothing has moved for so long */
    bool cut_by_end; /* what ends does so by FIN, else by RST */
};

#endif
