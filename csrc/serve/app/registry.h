/* The registry: which clients there are and how many follow each channel.
 * [the app's thread] */
#ifndef SLUICE_SERVE_APP_REGISTRY_H
#define SLUICE_SERVE_APP_REGISTRY_H

#include "serve/app/server.h"

void registry_init(struct server *s);
void registry_deinit(struct server *s); /* all clients were forgotten */

void registry_add(struct server *s, struct client *c,
                  const struct plan *plan); /* shares */
/* Out of the clients and of all counts; its topics keep their names until it is forgotten. */
void registry_leave(struct server *s, struct client *c);
void registry_forget(struct server *s, struct client *c); /* one that has left */

void registry_follow(struct server *s, struct client *c, struct slice channel);
bool registry_unfollow(struct server *s, struct client *c, struct slice channel);
bool registry_follows(struct client *c, struct slice channel);

/* How many follow a channel; 'hash' is map_hash of its name. */
uint32_t registry_count(const struct server *s, struct slice channel, uint64_t hash);

#endif
