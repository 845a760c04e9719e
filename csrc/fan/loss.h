/* What a stream lost, and what took it: an operator who asks gets both, a client is told the
 * reason alone.
 *
 * A channel notes with its floor what raised it: each cause with the number that it reached,
 * the same one in a row once. The numbers only rise, so what took the event behind a place is the
 * first one above it. Of more changes than LOSSES_KEPT the oldest are forgotten; then the oldest
 * that is known stands for them. [one thread] */
#ifndef SLUICE_FAN_LOSS_H
#define SLUICE_FAN_LOSS_H

#include "base/slice.h"
#include "fan/eventid.h"
#include "fan/reason.h"

enum lost_by {
    LOST_UNKNOWN,   /* the reason of the reset says it all */
    LOST_HISTORY,   /* the policy keeps so much: 'history' */
    LOST_TTL,       /* it was older than the policy lets it be */
    LOST_MEMORY,    /* --memory: the largest histories are halved */
    LOST_RELOAD,    /* another policy keeps less, or makes it another kind of channel */
    LOST_FORGOTTEN, /* the channel had no event and no subscriber for its ttl */
    LOST_STORED,    /* the store deleted it: its policy's limits */
    LOST_UNREAD,    /* the store could not be read */
    LOST_ROOM,      /* there was no memory for it */
    LOST_BACKLOG,   /* the stream lagged further than what is kept for that */
    LOST_CAUSES
};

const char *loss_word(enum lost_by by);

struct loss {
    struct slice channel;
    enum reset_reason reason;
    enum lost_by by;
    uint64_t from;              /* number: how far the stream had got */
    uint64_t oldest;            /* number: what is left; 0: nothing */
    const struct eventid *came; /* the id that its client brought; NULL: it was open */
    bool closes;                /* it gets no reset: its stream ends */
};

#define LOSSES_KEPT 4

struct losses {
    uint64_t upto[LOSSES_KEPT]; /* rising */
    uint8_t by[LOSSES_KEPT];
    uint8_t n;
};

/* Note that all up to a number is gone. *losses is made when it is needed (owned; mem_free). */
void losses_note(struct losses **losses, enum lost_by by, uint64_t upto);

/* What took the first event above a number; 'absent' when nothing did. NULL is fine. */
enum lost_by losses_find(const struct losses *losses, uint64_t above,
                         enum lost_by absent);

#endif
