/* Notes: the newest messages that were put in, as many as fit, with their fields as they are.
 *
 *     | what, time, fields | what, time, fields |        room        |
 *
 * Nearly nobody ever looks at one, so a line of the log (log_line.h) is made of it only then. When
 * there is no room the older half goes and the rest moves down. [one thread at a time] */
#ifndef SLUICE_BASE_NOTES_H
#define SLUICE_BASE_NOTES_H

#include "base/log_line.h"

struct notes {
    char *room;
    size_t n, size;
    bool lost_some; /* it does not have all since the start */
};

/* 'size': bytes of all; a longer one is not kept. The memory is touched as it is used. */
void notes_init(struct notes *notes, size_t size);
void notes_deinit(struct notes *notes);

/* Note that this happened now (copies the texts). 'what' and the names are constant, and there are
 * LOG_FIELDS_MAX at most. */
void notes_add(struct notes *notes, const char *what, const struct log_field *fields,
               size_t n);

/* What notes are looked for: those in which a field with this name, or any when it is empty, has
 * this text. */
struct notes_wanted {
    struct slice value, name;
};

/* Append the newest of them as lines of JSON, so many at most, in order. 0 or E_NOMEM. */
int notes_find(const struct notes *notes, const struct notes_wanted *wanted,
               uint32_t most, struct buf *out);

/* When the oldest was made, if some are lost; else 0. */
double notes_since(const struct notes *notes);

#endif
