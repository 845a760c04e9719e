/* What can be asked of the store: operations, which are carried out in the order in which
 * they are queued, and what is answered.
 *
 * An operation is embedded in a struct of its owner, with everything its slices point to.
 * From store_submit on it belongs to the store, until store_calls.done gives it back. */
#ifndef SLUICE_STORE_OP_H
#define SLUICE_STORE_OP_H

#include "base/list.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* These numbers stand in the file. */
enum store_kind { STORE_LOG = 0, STORE_STATE = 1, STORE_KEYED = 2 };

#define STORE_NO_LIMIT UINT32_MAX

/* What a channel is, and what the store keeps of it. */
struct store_policy {
    enum store_kind kind;
    bool durable;
    uint32_t events_max; /* logs: events; STORE_NO_LIMIT */
    uint64_t bytes_max;  /* logs: of names, keys and data; 0: no limit */
    int64_t age_ms;      /* logs: 0: no limit */
    uint32_t keys_max;   /* states, keyed logs: newest values; STORE_NO_LIMIT */
};

/* An event of a channel that is durable, or will be when its turn comes. Times are wall
 * clock milliseconds. */
struct store_event {
    struct slice channel, name, key, data;
    struct slice idempotency; /* empty: none */
    bool remove;              /* takes its key out of the newest values */
    bool update;              /* only while its key is among them */
    int64_t at_ms;
    int64_t expires_ms; /* 0: never; kept and given back, not judged */
};

/* A newest value that a memory channel brings when it becomes durable. */
struct store_live {
    uint64_t seq;
    struct slice name, key, data;
    int64_t at_ms, expires_ms;
};

/* A channel, or a pattern, that a conversion is about. */
struct store_change {
    struct slice name;
    enum store_kind was;            /* of a memory channel, while events flow */
    uint64_t newest;                /* the newest number of a memory channel */
    const struct store_live *lives; /* its newest values */
    uint32_t n_lives;
};

/* What a channel or pattern is to be from the conversion on. [store thread] */
typedef void store_judge_fn(void *arg, struct slice name, struct store_policy *out);

/* A change of policies, in a group of its own: every channel that the store knows and
 * every one in 'changes' is judged, and converted where its kind or durability differs.
 * 'changes' must name each durable pattern (so that a start knows since when its channels
 * are durable) and each memory channel that becomes durable; a durable pattern that stays one
 * gets 'newest' as its floor, if that is higher. */
struct store_conversion {
    store_judge_fn *judge;
    void *arg;
    const struct store_change *changes;
    uint32_t n_changes;
    uint64_t newest; /* of memory channels that have no entry, while events flow */
};

struct store_pair {
    struct slice store, key, value; /* plain bytes */
};

struct store_task {
    struct slice id, name, data;
    int64_t due_ms; /* wall clock */
};

struct store_trim {
    struct slice channel;
    uint64_t seq; /* drop history up to and including it */
};

enum store_op_kind {
    STORE_EVENT,       /* takes a number */
    STORE_CONVERT,     /* takes a number */
    STORE_TRIM,        /* durable channels only */
    STORE_SET,         /* pair */
    STORE_DELETE,      /* pair, without its value */
    STORE_TASK_PUT,    /* replaces a task of that id */
    STORE_TASK_DELETE, /* task.id */
};

enum store_answer {
    STORE_PENDING,
    STORE_STORED,      /* on the disk; seq is its number */
    STORE_DUPLICATE,   /* its idempotency key is known: seq is the first one's number */
    STORE_NO_KEY,      /* update: its key is not there */
    STORE_NOT_DURABLE, /* the channel has become a memory channel: publish it there */
    STORE_FAILED,      /* surely not stored: ESTORE */
    STORE_UNKNOWN      /* the store was closed while a commit's result was in doubt */
};

struct store_op {
    struct list node;  /* the store's */
    int64_t queued_us; /* 0: store_submit looks at the clock */
    enum store_op_kind kind;
    union {
        struct store_event event;
        struct store_conversion conversion;
        struct store_trim trim;
        struct store_pair pair;
        struct store_task task;
    };
    enum store_answer answer;
    uint64_t seq; /* its own number, once its group is open; else see the answer */
    bool late;    /* store_calls.late was called */
};

#endif
