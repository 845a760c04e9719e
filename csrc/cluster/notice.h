/* Notices: entries of the feed that are no events. One node tells them, and every node hears them
 * in the order of the feed, that one too. Each has a name (e), may be for one node or thing (y), and
 * carries a text (d); a letter says of which kind it is.
 *
 *   a   of the app: app:tell
 *   r   rights have changed: app:recheck, app:replan
 *   c   for one client
 *   d   something is due
 *   w   who follows has changed
 *
 * What each does stands in lua/sluice/live/notices.lua.
 *
 * A node that does not know a letter passes the entry over. */
#ifndef SLUICE_CLUSTER_NOTICE_H
#define SLUICE_CLUSTER_NOTICE_H

#include <stdbool.h>
#include <string.h>

/* Never in the feed, this node's own: it was taken for dead; another one has set or removed (text: "r", or
 * "s", and the channel) what it may have a lease of. */
#define NOTICE_REAPED 'o'
#define NOTICE_TAKEN 'l'
#define NOTICE_HEARD 'h' /* ... an event of a channel that the app hears */
#define NOTICE_LETTERS "arcdw"

static inline bool notice_is_known(char letter) {
    return letter != '\0' && strchr(NOTICE_LETTERS, letter) != NULL;
}

#endif
