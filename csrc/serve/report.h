/* Reports: what a worker reports to the app: what channels did, and streams that lag.
 *
 * At the end of a turn, when REPORT_MS have passed and the app has taken the last report,
 * the worker hands over the tallies of its fan and measures the lag of the streams that are
 * behind. Nothing is lost when there is no memory or the app is busy: the tallies stay and
 * grow until the next time. The app adds the counts up (accounts.h) and keeps the report for
 * its lags until the next one replaces it. */
#ifndef SLUICE_SERVE_REPORT_H
#define SLUICE_SERVE_REPORT_H

#include "fan/tally.h"
#include "serve/client.h"

struct lane;

/* A stream that lags. */
struct lagging {
    char
        client[CLIENT_ID_LENGTH + 1]; /* its id: it may be gone when the report is read */
    struct lag lag;
    int64_t since_ms;
    const struct tally *most; /* its channel that waits most, in this report; NULL */
};

struct report {
    struct message message; /* to the app */
    struct lane *lane;
    struct list tallies;
    uint32_t n;
    struct lagging lagging[];
};

void report_free(struct report *r); /* NULL is fine */

#endif
