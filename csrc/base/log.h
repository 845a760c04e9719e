/* The log: lines on stderr, written by a thread of their own (log_line.h: how they look).
 *
 * A blocked pipe must not stop a stream: log_write formats the line, puts it into a
 * bounded ring and returns. A full ring drops the line, counts it, and says so when lines
 * flow again. Before log_start and after log_stop lines are written at once. [any thread] */
#ifndef SLUICE_BASE_LOG_H
#define SLUICE_BASE_LOG_H

#include "base/log_line.h"

/* Lines below 'level' are dropped. */
void log_configure(enum log_level level, struct log_form form);
bool log_wants(enum log_level level);

/* Start and stop the thread; calls nest. log_stop writes what is waiting, if stderr takes
 * it within LOG_STOP_MS. */
void log_start(void);
void log_stop(void);

/* Wait until everything is written, at most LOG_STOP_MS: before _exit. */
void log_flush(void);

void log_write(enum log_level level, const char *message, const struct log_field *fields,
               size_t n);
void log_write_slice(enum log_level level, struct slice message,
                     const struct log_field *fields, size_t n);
void log_printf(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
