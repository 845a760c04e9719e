/* What a server says of itself, whether it can be used, and what is to be told about it. Pure. */
#ifndef SLUICE_CLUSTER_JUDGE_H
#define SLUICE_CLUSTER_JUDGE_H

#include "cluster/link.h"

enum judge_warning {
    WARN_NO_AOF,      /* a restart forgets */
    WARN_NO_REPLICAS, /* there are some, and writes do not wait for them */
    WARN_DISK,        /* what is durable is not on its disk, */
    WARN_BLIND,       /* ... or nobody may ask whether it is, */
    WARN_FEW,         /* ... or on so many replicas */
    WARN_PLAIN,       /* over a network, and without TLS */
    JUDGE_WARNINGS
};

struct judge {
    bool heard; /* it has answered something */
    struct link_server server;
    char version[24], run[SCRIPT_ID_MAX + 1], replid[SCRIPT_ID_MAX + 1];
    char master[80], policy[32];
    bool is_cluster, is_replica, is_loading;
    bool knows_config;
    bool asserts_disk; /* see link_options; as the next one */
    struct link_durable durable;
    uint64_t min_replicas;
};

void judge_init(struct judge *j);

/* Take in what INFO has answered; false: it is none. */
bool judge_info(struct judge *j, struct slice info);

/* ... CONFIG GET; an error (the user may not) leaves unknown what it would say. */
void judge_config(struct judge *j, const struct reply *r);

/* Another INFO is of the same process. */
bool judge_is_same(const struct judge *j, struct slice info);

/* False: it cannot be used, and 'why' says what to do. */
bool judge_server(const struct judge *j, char *why, size_t size);

/* What the probe has answered: false as above. */
bool judge_denied(const struct reply *r, const char *user, char *why, size_t size);

/* What an error to one of our first commands means, as a sentence. True: it stays so until somebody does
 * something about it. */
bool judge_error(struct slice error, const char *user, bool is_auth, char *why,
                 size_t size);

/* It says that what is durable is refused: its end is told, too. */
static inline bool judge_is_of_durable(enum judge_warning kind) {
    return kind == WARN_DISK || kind == WARN_BLIND;
}

/* A sentence, or NULL. 'is_safe': nobody else hears what the connections carry. */
const char *judge_warning(const struct judge *j, enum judge_warning kind, bool is_safe);

#endif
