/* Why a stream ends, and why a client is notified that it lost something: the words of bye and
 * of reset, one row each. Behind the reason of an end is its cause, which only the operator is
 * told: a stream ends as "gone" because its client left, its network is silent, …
 *
 * Whatever depends on such a word is a column here. Lua reads the same rows
 * (sluice.core.reasons), and a spec holds the tables of doc/protocol.md against them. */
#ifndef SLUICE_FAN_REASON_H
#define SLUICE_FAN_REASON_H

#include <stdbool.h>
#include <stdint.h>

enum end_reason {
    END_NONE, /* it goes on */
    END_DRAIN,
    END_OVERLOAD,
    END_SLOW,
    END_ERROR,
    END_DENIED,
    END_EXPIRED,
    END_REVOKED,
    END_AGE,
    END_STOP,
    END_MOVED,
    END_END,  /* without a bye: what wrote the stream is done */
    END_GONE, /* without a bye: the client left, or its connection broke */
    END_REASONS
};

/* What is sent before the bye. */
enum end_when {
    END_AFTER_ALL, /* all that was released so far */
    END_AT_CURSOR, /* no later event: a client that comes back is notified of what it lost */
    END_AT_ONCE    /* nothing, by right: not even what waits for its socket */
};

/* When the client may come back. */
enum end_retry {
    RETRY_USUAL,
    RETRY_OVERLOAD, /* over a longer time */
    RETRY_LIMIT,    /* over a still longer one: of no row, a bye says it */
    RETRY_DRAIN,    /* when this process has gone */
    RETRY_NEVER     /* in an hour, unless its page opens a new stream */
};

enum end_cause {
    END_AS_USUAL,
    BY_APP,        /* the app's code: what it did is known there */
    BY_DRAIN,      /* the server stops */
    BY_TIME,       /* the time of its user is over */
    BY_RIGHT,      /* the last of its channels was taken from it */
    BY_BACKLOG,    /* it lagged further than is kept, and its policy closes */
    BY_LOSS,       /* it lost something, and has no notices for that */
    BY_STALL,      /* its socket took nothing for --stall-timeout */
    BY_CLIENT,     /* its client closed the connection */
    BY_NETWORK,    /* the connection broke */
    BY_SILENCE,    /* nothing was acknowledged for a heartbeat */
    BY_INPUT,      /* its client kept sending */
    BY_ABSENCE,    /* its client did not poll again */
    BY_CROWD,      /* too many clients that do not poll now: the oldest goes */
    BY_QUEUE,      /* its request waited for the app for too long */
    BY_SLOW_PLAN,  /* the app took its request, and did not answer in time */
    BY_ANSWER,     /* the app refused its request */
    BY_LIMIT,      /* over a limit of its address or user */
    BY_MEMORY,     /* there was no memory for what it was to be sent */
    BY_CLOSED_LOG, /* the log that it reads is closed */
    BY_FEED,       /* an event of its log is not what its type says */
    END_CAUSES
};

/* "client", "network", … */
const char *reason_cause(enum end_cause cause);

struct end_row {
    const char *word;
    enum end_when when;
    enum end_retry retry;
    bool has_bye;
    bool
        stays_away; /* its id becomes "stop", and its connection ends clean for all clients */
    enum end_cause usual; /* when nothing else is said */
};

/* The row of END_DRAIN to END_GONE. */
const struct end_row *reason_end(enum end_reason reason);

/* The reason with this word; END_NONE: there is none. */
enum end_reason reason_of_word(const char *word);

/* What bye says about coming back, drawn at random: no browser adds jitter of its own.
 * 'left_ms': how long no server will listen here; 0 unless the server drains. */
uint32_t reason_retry_ms(enum end_retry retry, uint64_t *random, int64_t left_ms);

enum reset_reason {
    RESET_NONE,
    RESET_TRIMMED,
    RESET_SLOW,
    RESET_RESTART,
    RESET_EPOCH,
    RESET_FUTURE,
    RESET_UNKNOWN_ID,
    RESET_DENIED,
    RESET_FAILOVER,
    RESET_REASONS
};

struct reset_row {
    const char *word;
    enum end_reason plain; /* how a stream without control events ends instead */
    /* Whether a client that comes back to a state gets it: the values that a state has
     * make up for the other losses. */
    bool of_state;
};

/* The row of RESET_TRIMMED to RESET_FAILOVER. */
const struct reset_row *reason_reset(enum reset_reason reason);

#endif
