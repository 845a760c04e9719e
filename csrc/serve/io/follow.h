/* Which channels of a cluster are here, before something is opened on them.
 *
 *     request or subscription ──▶ follow_waits ──▶ all is here: it goes on at once
 *                                      │
 *                                      ▼ cluster_judge, cluster_follow
 *                              it is parked ──▶ io_on_judged, io_on_cluster (fills), io_on_followed
 *                                                      └──▶ it goes on
 *
 * A parked request waits as for a late app: its stream gets its head after a time, and its client may
 * go. It is given up when its channels do not come (bye, overload); sooner when it has an id that only
 * Redis can judge, and Redis is away: another node may know it (bye, moved). A channel that nobody here follows any more is let go of in a
 * walk that never ends. Without a cluster there is nothing to wait for. [the worker's thread] */
#ifndef SLUICE_SERVE_IO_FOLLOW_H
#define SLUICE_SERVE_IO_FOLLOW_H

#include "base/map.h"
#include "run/loop.h"
#include "serve/to_io.h"

struct worker;

struct following {
    struct map channels;  /* those that this thread follows, and those it has asked for */
    struct list openings; /* answers of the app that are parked */
    struct list requests; /* all that are parked, the oldest first */
    struct ev_timer walk;
    size_t walked;
    int64_t walked_ms; /* in a rehearsal, in place of the timer */
};

void follow_init(struct worker *w);
void follow_deinit(struct worker *w); /* what is parked has no client any more */

/* In a rehearsal: a part of the walk, when it is due; and when that is, in ms. */
void follow_step(struct worker *w);
int64_t follow_next(const struct worker *w);

/* Whether a request has to wait for what its plan follows, or for what its id means. Then it is parked,
 * and comes again: through dispatch_plan, or with its answer through io_on_reply. */
bool follow_waits(struct worker *w, struct request *r, struct plan *plan);

/* Other policies: channels may have become ones of this node alone, or of all. */
void follow_policies(struct worker *w);

/* The same as follow_waits of a message for a client (takes it then): a subscription, or what follows on an opening
 * that is parked. */
bool follow_parks(struct worker *w, struct client_message *m);

#endif
