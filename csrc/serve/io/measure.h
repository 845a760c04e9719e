/* What a worker reports to the app: the tallies of its fan and the lag of the streams that
 * lag. See report.h. [the worker's thread] */
#ifndef SLUICE_SERVE_IO_MEASURE_H
#define SLUICE_SERVE_IO_MEASURE_H

#include <stdint.h>

struct worker;

/* Report, if it is time and there is something to report. */
void measure_report(struct worker *w);

/* When there will be something to report; INT64_MAX: not yet. */
int64_t measure_next(const struct worker *w);

#endif
