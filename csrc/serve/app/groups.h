/* Groups: what the channels of one declared pattern did, all of them together.
 *
 * Channels may be a million; declared patterns are few, so figures by pattern can be kept for
 * ever. Counts are added up as they come, and what channels are now is measured when somebody
 * asks. A channel counts for the most specific pattern that matches it, as declared now. The first
 * GROUPS_MAX patterns have a group each, which stays when a reload no longer declares them; the others, and
 * channels without a pattern, share the group "other". [app] */
#ifndef SLUICE_SERVE_APP_GROUPS_H
#define SLUICE_SERVE_APP_GROUPS_H

#include "base/bounds.h"
#include "fan/policy.h"
#include "fan/tally.h"

struct server;
struct chan;

struct group {
    char *pattern; /* owned */
    uint64_t published, published_bytes;
    uint64_t budget_alarms;
    struct tally_counts counts;
    /* as measured */
    uint64_t over_budget;
    uint64_t channels, subscribers, held, held_bytes;
    uint64_t behind;
    struct lag lag; /* the greatest */
};

struct groups {
    struct group *list[GROUPS_MAX + 1]; /* the first one: other */
    uint32_t n;
    struct policy_set *set; /* what the following was made for (a reference) */
    struct group **of_rule;
    uint32_t version; /* counts such sets */
};

void groups_init(struct groups *g);
void groups_deinit(struct groups *g);

/* That of a channel of the app's replica. Borrows. */
struct group *groups_of(struct server *s, const struct chan *c);

/* The same of any channel, by its name. */
struct group *groups_find(struct server *s, struct slice channel);

/* Look at all channels, topics and the last reports. */
void groups_measure(struct server *s);

#endif
