/* The rows; see reason.h. */
#include "fan/reason.h"

#include "base/bounds.h"
#include "base/rand.h"

#include <assert.h>
#include <string.h>

/* An end by right (denied, expired, revoked) lets nothing more out. A client that
 * lags, or for whose notice there was no memory, ends where it stands. After "stop" the
 * client soon asks once more, is answered 204, and closes permanently. */
static const struct end_row ends[END_REASONS] = {
    [END_DRAIN] = {"drain", END_AFTER_ALL, RETRY_DRAIN, true, false, BY_DRAIN},
    [END_OVERLOAD] = {"overload", END_AT_CURSOR, RETRY_OVERLOAD, true, false, BY_MEMORY},
    [END_SLOW] = {"slow", END_AT_CURSOR, RETRY_USUAL, true, false, BY_BACKLOG},
    [END_ERROR] = {"error", END_AFTER_ALL, RETRY_USUAL, true, false, BY_APP},
    [END_DENIED] = {"denied", END_AT_ONCE, RETRY_NEVER, true, true, BY_APP},
    [END_EXPIRED] = {"expired", END_AT_ONCE, RETRY_USUAL, true, false, BY_TIME},
    [END_REVOKED] = {"revoked", END_AT_ONCE, RETRY_NEVER, true, false, BY_RIGHT},
    [END_AGE] = {"age", END_AFTER_ALL, RETRY_USUAL, true, false, BY_APP},
    [END_STOP] = {"stop", END_AFTER_ALL, RETRY_USUAL, true, true, BY_APP},
    [END_MOVED] = {"moved", END_AFTER_ALL, RETRY_USUAL, true, false, BY_APP},
    [END_END] = {"end", END_AFTER_ALL, RETRY_USUAL, false, false, BY_APP},
    [END_GONE] = {"gone", END_AFTER_ALL, RETRY_USUAL, false, false, BY_NETWORK}};

static const char *const causes[END_CAUSES] = {
    [END_AS_USUAL] = "",          [BY_APP] = "app",           [BY_DRAIN] = "drain",
    [BY_TIME] = "time",           [BY_RIGHT] = "right",       [BY_BACKLOG] = "backlog",
    [BY_LOSS] = "loss",           [BY_STALL] = "stall",       [BY_CLIENT] = "client",
    [BY_NETWORK] = "network",     [BY_SILENCE] = "silence",   [BY_INPUT] = "input",
    [BY_ABSENCE] = "absence",     [BY_CROWD] = "crowd",       [BY_QUEUE] = "queue",
    [BY_SLOW_PLAN] = "slow_plan", [BY_ANSWER] = "answer",     [BY_LIMIT] = "limit",
    [BY_MEMORY] = "no_memory",    [BY_CLOSED_LOG] = "closed", [BY_FEED] = "feed"};

/* A state reports on a return what was lost while it was a log, and nothing else. */
static const struct reset_row resets[RESET_REASONS] = {
    [RESET_TRIMMED] = {"trimmed", END_SLOW, true},
    [RESET_SLOW] = {"slow", END_SLOW, false},
    [RESET_RESTART] = {"restart", END_SLOW, true},
    [RESET_EPOCH] = {"epoch", END_SLOW, false},
    [RESET_FUTURE] = {"future", END_SLOW, false},
    [RESET_UNKNOWN_ID] = {"unknown_id", END_SLOW, false},
    [RESET_DENIED] = {"denied", END_REVOKED, false},
    [RESET_FAILOVER] = {"failover", END_SLOW, false}};

const struct end_row *reason_end(enum end_reason reason) {
    assert(reason > END_NONE && reason < END_REASONS);
    return &ends[reason];
}

enum end_reason reason_of_word(const char *word) {
    for (int i = END_NONE + 1; i < END_REASONS; i++)
        if (strcmp(ends[i].word, word) == 0) return (enum end_reason)i;
    return END_NONE;
}

const char *reason_cause(enum end_cause cause) {
    assert(cause < END_CAUSES);
    return causes[cause];
}

uint32_t reason_retry_ms(enum end_retry retry, uint64_t *random, int64_t left_ms) {
    uint32_t left = left_ms > 0 ? (uint32_t)left_ms : 0;
    switch (retry) {
    case RETRY_NEVER: return RETRY_NEVER_MS;
    case RETRY_DRAIN:
        return left + rand_between(random, RETRY_DRAIN_MIN_MS, RETRY_DRAIN_MAX_MS);
    case RETRY_OVERLOAD:
        return left + rand_between(random, RETRY_MIN_MS, RETRY_OVERLOAD_MAX_MS);
    case RETRY_LIMIT:
        return left + rand_between(random, RETRY_LIMIT_MIN_MS, RETRY_LIMIT_MAX_MS);
    case RETRY_USUAL: break;
    }
    return left + rand_between(random, RETRY_MIN_MS, RETRY_MAX_MS);
}

const struct reset_row *reason_reset(enum reset_reason reason) {
    assert(reason > RESET_NONE && reason < RESET_REASONS);
    return &resets[reason];
}
