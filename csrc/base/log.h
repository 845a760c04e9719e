/* The log: lines on stderr, written by a thread of their own.
 *
 * A blocked pipe must not stop a stream: log_write formats the line, puts it into a
 * bounded ring and returns. A full ring drops the line, counts it, and says so later.
 * Before log_start and after log_stop lines are written at once. [any thread] */
#ifndef SLUICE_BASE_LOG_H
#define SLUICE_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };

/* One named value of a line: text when 'text' is set, else a number. */
struct log_field {
    const char *name;
    const char *text;
    size_t text_n; /* 0: the text is NUL-terminated */
    double number;
};

/* Lines below 'level' are dropped; 'json' chooses one JSON object a line. */
void log_configure(enum log_level level, bool json);
bool log_wants(enum log_level level);

/* Start and stop the thread; calls nest. log_stop writes what is waiting. */
void log_start(void);
void log_stop(void);

void log_write(enum log_level level, const char *message, const struct log_field *fields,
               size_t n);
void log_printf(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* -1 when 'name' is no level. */
int log_level_of(const char *name);

#endif
