/* The queue of a worker for the app: requests that need Lua, in order.
 *
 *     connections  ->  waiting  ->  handed over  ->  taken by the app
 *                      a list       its mailbox
 *
 * So many are handed over that the app always finds one. The others wait where they are, in
 * their connections: that costs what their heads cost, and one that leaves is out of the
 * list at once. No request is turned away for the number of those before it, only for the
 * time it has waited (QUEUE_TIMEOUT_MS; his connection watches it). When the app has taken
 * half of what it had, it asks for more, if any wait. */
#ifndef SLUICE_SERVE_QUEUE_H
#define SLUICE_SERVE_QUEUE_H

#include "base/list.h"
#include "run/mailbox.h"

#include <stdatomic.h>
#include <stdbool.h>

struct request;
struct lane;

struct queue {
    struct list waiting; /* [io] requests, by 'waits' */
    atomic_uint handed;  /* and not yet taken */
    atomic_bool
        wanted; /* [io] wants 'room' to be posted; the thread that clears it posts */
    bool asked; /* [io] the flag is set, or the message is on its way */
    struct message room;
};

void queue_init(struct queue *q);

/* No thread waits any more, and nothing may be posted. [after the thread ended] */
void queue_close(struct queue *q);

/* The request waits for its turn (shares). [io] */
void queue_add(struct lane *lane, struct request *r);

/* It need not have its turn. True when it is certain that no handler ran or will. [io] */
bool queue_withdraw(struct request *r);

/* The app has taken one. [app] */
void queue_took(struct lane *lane);

#endif
