/* The levels of the log and their names. */
#ifndef SLUICE_BASE_LOG_LEVEL_H
#define SLUICE_BASE_LOG_LEVEL_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };

/* -1 when 'name' is no level; upper and lower case are the same. */
int log_level_of(const char *name);

/* The name of LOG_DEBUG to LOG_ERROR. */
const char *log_level_name(enum log_level level);

#endif
