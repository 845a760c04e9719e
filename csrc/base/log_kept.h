/* Lines of the log that a test reads: what the server says of itself, not of single requests.
 * LOG_KEPT_MAX at most wait to be taken; later ones are not kept. [any thread] */
#ifndef SLUICE_BASE_LOG_KEPT_H
#define SLUICE_BASE_LOG_KEPT_H

#include "base/log_level.h"
#include "base/slice.h"

#include <stdbool.h>

/* From here on lines are kept besides being written, or not; forgets what is there. */
void log_kept_set(bool on);
bool log_kept_is_on(void);

void log_kept_add(enum log_level level, struct slice message);

/* The oldest one, once; cut to the room that is given. False: there is none. */
bool log_kept_take(enum log_level *level, char *text, size_t size);

#endif
