/* One line of the log, as text for people or as a JSON object for programs.
 *
 *   2026-11-22T09:00:00.123Z info  request  method=GET path=/a status=200
 *   {"time":"2026-11-22T09:00:00.123Z","level":"info","message":"request","method":"GET"}
 *
 * For the journal each line begins with its priority, which the journal takes off, and the text
 * form is without what the journal has itself, time and level:
 *
 *   <6>request  method=GET path=/a status=200
 *
 * Whatever a peer or an app puts into a name, a message or a value, the line is one line
 * (a line feed in a message of the text form goes on indented), shows what is there, and
 * as JSON it parses: bytes that are no UTF-8 are written \xff, characters that would not be
 * seen \u009b or \u{e0001} (in JSON a pair of surrogates), in both forms. */
#ifndef SLUICE_BASE_LOG_LINE_H
#define SLUICE_BASE_LOG_LINE_H

#include "base/buf.h"
#include "base/log_level.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One named value of a line: text when 'text' is set, else a number, which is 'integer'
 * when 'is_integer' is. */
struct log_field {
    const char *name;
    size_t name_n; /* 0: the name is NUL-terminated */
    const char *text;
    size_t text_n; /* likewise */
    double number;
    int64_t integer;
    bool is_integer;
};

struct log_message {
    enum log_level level;
    struct slice text;
    const struct log_field *fields;
    size_t n;
    double time; /* of day, in seconds; 0: now */
};

struct log_form {
    bool json, journal;
};

/* Append a text as JSON writes it, with the quotes, escaped as in a line. 0 or E_NOMEM. */
int log_line_add_string(struct buf *b, struct slice text);

#define LOG_TIME_LENGTH 24 /* 2026-11-22T09:00:00.123Z */

/* A time of day as lines have it. [any thread] */
void log_line_time(char out[LOG_TIME_LENGTH], double time);

/* Append a line with its line feed. 0 or E_NOMEM. [any thread] */
int log_line_add(struct buf *b, struct log_form form, const struct log_message *m);

#endif
