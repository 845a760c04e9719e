/* The sweep: once a second the app thread lets old events go.
 *
 * Age is decided here alone and sent to all threads as trims at one place of the order of
 * events, so that their floors stay equal. A channel that is empty, unfollowed and silent
 * for its ttl (for the default one where events do not age) is dropped. A turn looks at a part of the channels when there are many:
 * all of them within a minute. When a storm of connects is over, the memory of its
 * requests goes back to the system. [the app's thread] */
#ifndef SLUICE_SERVE_APP_SWEEP_H
#define SLUICE_SERVE_APP_SWEEP_H

#include "serve/app/server.h"

void sweep_run(struct server *s, int64_t now_ms);

#endif
