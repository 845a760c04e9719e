/* How far a subscription lags: what it wants and was not sent yet.
 *
 * Asked a few times a second for streams whose sockets are full, never per delivery. Without
 * a filter a log knows at once: its events are numbered by bytes. Otherwise the events are
 * looked at one by one; beyond LAG_WALK_MAX of them the rest is taken to be like these.
 * [one thread] */
#ifndef SLUICE_FAN_LAG_H
#define SLUICE_FAN_LAG_H

#include "fan/sub.h"

/* 'sub' lags. *looks is how many events may be looked at, and becomes what is left. */
struct lag lag_of(const struct sub *sub, int *looks);

#endif
