/* The newest lines of the log, for who looks at it from elsewhere than its stderr: as JSON,
 * whatever stderr gets. As many as fit LOG_TAIL_BYTES. [any thread] */
#ifndef SLUICE_BASE_LOG_TAIL_H
#define SLUICE_BASE_LOG_TAIL_H

#include "base/buf.h"

#include <stdint.h>

void log_tail_add(struct slice line); /* with its line feed; copies */

/* Append the lines behind number 'after' (they are numbered from 1 on), of more the newest 'most'.
 * *last: the number of the newest. 0 or E_NOMEM: then nothing was appended. */
int log_tail_read(uint64_t after, uint32_t most, struct buf *out, uint64_t *last);

#endif
