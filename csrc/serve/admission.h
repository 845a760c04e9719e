/* Admission: what limits.h says of one request, and of the client that it becomes.
 *
 * A request that opens a stream takes a place of its address before anybody is asked for a
 * plan, so that who is refused costs no Lua. Its client takes that place over, with one of
 * its user; until then it is given back when the connection lets go of the request,
 * afterwards when the end of the client is reported. What waits for the page of a feed has a
 * place, too, and never a client. */
#ifndef SLUICE_SERVE_ADMISSION_H
#define SLUICE_SERVE_ADMISSION_H

#include "serve/client.h"
#include "serve/request.h"

/* Count a request. False: its address sends too many; r->wait_s is when it may again. [io] */
bool admission_ask(struct request *r, int64_t now_ms);

/* A place for the stream that it opens. False: its address has none left. [io] */
bool admission_enter(struct request *r);
void admission_drop(
    struct request *r); /* nobody waits for it any more; idempotent [io] */

/* The client, which is new, has the places from now on. False: its user, or its address, has
 * none left, and it has none. [any thread] */
bool admission_take(struct client *c, struct request *r);
void admission_leave(struct client *c); /* it has ended; idempotent [io] */

#endif
