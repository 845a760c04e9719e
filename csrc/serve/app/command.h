/* Commands from the app to the workers: what all of them get at one place of the order
 * of events, and what one client's worker gets. */
#ifndef SLUICE_SERVE_APP_COMMAND_H
#define SLUICE_SERVE_APP_COMMAND_H

#include "serve/app/server.h"

/* To every worker, in the order of events (shares routes and policies; copies names). */
void command_trim(struct server *s, struct slice channel, uint64_t seq);
void command_drop(struct server *s, struct slice channel);
void command_configure(struct server *s, struct routes *routes,
                       struct policy_set *policies);

/* To the worker of one client. 'plan' holds one spec: the channel with its options, or
 * for a filter its lists. Copies texts, shares the plan. */
enum client_command { CLIENT_SUBSCRIBE, CLIENT_UNSUBSCRIBE, CLIENT_DENY, CLIENT_SET };
void command_client(struct client *c, enum client_command kind, struct plan *plan);
int command_send(struct client *c, struct slice text);
int command_close(struct client *c, const struct good_bye *bye);

#endif
