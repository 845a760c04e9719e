/* What a worker of the load generator counts, in memory it shares with its parent.
 *
 * Counters only rise and have one writer, so the parent takes differences between two
 * readings and no lock is needed. Exact at quiet moments, which is when it reads. */
#ifndef BENCH_TALLY_H
#define BENCH_TALLY_H

#include <stdatomic.h>
#include <stdint.h>

/* Log-linear: 32 steps for each power of two, so 3 % wide. */
#define HIST_STEPS 32
#define HIST_SLOTS (64 * HIST_STEPS)

struct hist {
    uint64_t count, sum;
    uint64_t slots[HIST_SLOTS];
};

void hist_add(struct hist *h, uint64_t value);
void hist_merge(struct hist *into, const struct hist *from);
void hist_less(struct hist *from, const struct hist *less); /* from -= less */
/* The value below which 'part' (0 .. 1) of what was added lies; 0 when empty. */
uint64_t hist_quantile(const struct hist *h, double part);

/* When the last stream had event n; for the latency of whole rounds. */
struct round {
    uint64_t n, sent_us, last_ns, count;
};
#define ROUNDS (1u << 17) /* events between two reports that can be told apart */

/* X(name): one line of the report each. */
#define TALLY_COUNTERS(X)                                                           \
    X(connects)   /* sockets that connected */                                      \
    X(ready)      /* streams whose hello arrived */                                 \
    X(failed)     /* connects or heads that failed */                               \
    X(closed)     /* streams that the server ended */                               \
    X(done)       /* streams that were closed because they had what they wanted */  \
    X(reads)      /* recv() that brought something */                               \
    X(bytes)      /* ... and what they brought */                                   \
    X(body_bytes) /* bytes of events, on all streams */                             \
    X(chunks)     /* HTTP chunks with events, on all streams */                     \
    X(events)     /* events on parsed streams */                                    \
    X(ids)        /* ... that had an id */                                          \
    X(hellos)                                                                       \
    X(resets)                                                                       \
    X(byes)                                                                         \
    X(syncs)                                                                        \
    X(beats)      /* chunks of two bytes: heartbeats, on all streams */             \
    X(lost)       /* numbers that were skipped */                                   \
    X(repeated)   /* numbers that came twice */                                     \
    X(disordered) /* numbers that came late, or ids that did not rise */            \
    X(malformed)  /* what is no chunk, no field, no number */                       \
    X(crc_short)  /* streams with fewer bytes than the parsed one, when verified */ \
    X(crc_long)   /* ... with more */                                               \
    X(crc_differ) /* ... with as many, but others */                                \
    X(ref_events) /* events and bytes of the parsed stream that is the reference */ \
    X(ref_bytes)                                                                    \
    X(late_gaps) /* silences longer than --gap */                                   \
    X(cpu_ns)    /* of this worker */

#define TALLY_FIELD(name) uint64_t name;
struct tally {
    TALLY_COUNTERS(TALLY_FIELD)
    uint64_t open;               /* streams that are ready now */
    uint64_t parsed;             /* ... of which parsed */
    uint64_t newest_n;           /* highest number seen */
    _Atomic uint64_t gap_max_ns; /* the parent sets it to 0 */
    struct hist latency; /* publish to receive, each event of each parsed stream, ns */
    struct hist connect; /* connect() to the end of hello (or of --until), ns */
    /* Requests of the parent, a number each; the worker answers with the same number. */
    _Atomic uint64_t verify, verified, storm, stormed, quit;
    struct round rounds[ROUNDS];
};

/* Add a parsed event to its round. */
void tally_round(struct tally *t, uint64_t n, uint64_t sent_us, uint64_t now_ns);

#endif
