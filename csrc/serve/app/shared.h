/* Publishing in a cluster: what the app hands to its thread, and what comes back.
 *
 * As with a durable channel an event is checked on the app's thread and gets a ticket; on_answer
 * comes when Redis has numbered it and this node has read it back, which its replica has taken in
 * by then. [the app's thread] */
#ifndef SLUICE_SERVE_APP_SHARED_H
#define SLUICE_SERVE_APP_SHARED_H

#include "serve/app/durable.h"

/* As durable_commit. */
int shared_commit(struct server *s, const struct commit *c, uint64_t *ticket);

/* A notice for all nodes, this one too (cluster/notice.h). Its answer comes as that of a publish. */
struct shared_notice {
    char letter;
    struct slice name, to, text;
};
int shared_tell(struct server *s, const struct shared_notice *n, uint64_t *ticket);

/* Whether the app's replica has a channel; else a ticket, whose answer comes when it has (E_BUSY: not
 * in time). */
bool shared_has(struct server *s, struct slice channel, bool for_good, uint64_t *ticket);

/* Once a second. */
void shared_tick(struct server *s);

/* The cluster's thread ends. Idempotent. */
void shared_close(struct server *s);

#endif
