/* Accounts: the sums of what the workers reported, per channel and of the whole server, and
 * their last report on lagging streams. A channel has an account from its first report until it
 * is forgotten, that is without events and without subscribers. [app] */
#ifndef SLUICE_SERVE_APP_ACCOUNTS_H
#define SLUICE_SERVE_APP_ACCOUNTS_H

#include "serve/report.h"

struct server;

struct account {
    struct map_node node; /* in server->accounts; key: the channel */
    uint32_t channel_n;
    struct tally_counts counts;
    char channel[];
};

map_key_fn account_key;

/* What was counted on a channel; zeros when nothing was. */
struct tally_counts accounts_of(const struct server *s, struct slice channel);

/* A channel's greatest lag, and how many subscribers lag; of all streams when
 * 'channel' is empty. */
struct lag accounts_lag(const struct server *s, struct slice channel,
                        uint32_t *n_lagging);

/* The last report on a client, or NULL: it does not lag. Borrows. */
const struct lagging *accounts_lagging(const struct client *c);

/* The 'n' clients with the most bytes to be sent, the slowest first; all are there now.
 * Returns how many there are; borrows. */
uint32_t accounts_slowest(const struct server *s, const struct lagging **out, uint32_t n);

/* The last subscriber or the last event went: a channel that nothing holds is forgotten. */
void accounts_release(struct server *s, struct slice channel);

void accounts_free(struct server *s); /* all, and the last reports */

#endif
