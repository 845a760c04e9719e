/* Commands to all fans at one place of the order of events: those of the I/O threads and
 * the app's own. [the app's thread] */
#ifndef SLUICE_SERVE_APP_COMMAND_H
#define SLUICE_SERVE_APP_COMMAND_H

#include "serve/app/server.h"

/* They share routes and policies, and copy names. */
void command_trim(struct server *s, struct slice channel, uint64_t seq, enum lost_by by);
void command_drop(struct server *s, struct slice channel);
void command_configure(struct server *s, struct routes *routes,
                       struct policy_set *policies);

#endif
