/* Names of levels; see log_level.h. */
#include "base/log_level.h"

#include <assert.h>
#include <strings.h>

static const char *const names[] = {"debug", "info", "warn", "error"};

int log_level_of(const char *name) {
    for (int i = 0; i < LOG_OFF; i++)
        if (strcasecmp(name, names[i]) == 0) return i;
    return strcasecmp(name, "off") == 0 ? LOG_OFF : -1;
}

const char *log_level_name(enum log_level level) {
    assert(level < LOG_OFF);
    return names[level];
}
