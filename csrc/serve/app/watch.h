/* Watching files for a reload: one ev_stat a file on the app's loop (inotify where there
 * is one), nothing debounced here. [the app's thread] */
#ifndef SLUICE_SERVE_APP_WATCH_H
#define SLUICE_SERVE_APP_WATCH_H

#include "serve/app/server.h"

/* Replace the watched set (copies the paths). More than WATCHED_FILES_MAX: E_FULL. */
int watch_set(struct server *s, const struct slice *paths, size_t n);

#endif
