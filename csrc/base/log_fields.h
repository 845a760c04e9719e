/* A list of fields in the making, for a line (log_line.h). Texts are borrowed until it is written;
 * an empty one is left out. */
#ifndef SLUICE_BASE_LOG_FIELDS_H
#define SLUICE_BASE_LOG_FIELDS_H

#include "base/bounds.h"
#include "base/log_line.h"

#include <assert.h>

struct log_fields {
    struct log_field all[LOG_FIELDS_MAX];
    size_t n;
};

static inline void log_fields_add(struct log_fields *f, struct log_field field) {
    assert(f->n < LOG_FIELDS_MAX);
    f->all[f->n++] = field;
}

static inline void log_fields_text(struct log_fields *f, const char *name,
                                   struct slice text) {
    if (text.n == 0) return;
    log_fields_add(f, (struct log_field){.name = name, .text = text.p, .text_n = text.n});
}

static inline void log_fields_integer(struct log_fields *f, const char *name,
                                      uint64_t value) {
    log_fields_add(f, (struct log_field){
                          .name = name, .integer = (int64_t)value, .is_integer = true});
}

static inline void log_fields_number(struct log_fields *f, const char *name,
                                     double value) {
    log_fields_add(f, (struct log_field){.name = name, .number = value});
}

#endif
