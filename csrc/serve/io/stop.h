/* How the end comes although the app may hang: the signals of the process, and a drain
 * without the app. The first worker has both. [the worker's thread] */
#ifndef SLUICE_SERVE_IO_STOP_H
#define SLUICE_SERVE_IO_STOP_H

struct worker;

/* Take TERM, INT and HUP of the process; every thread has them blocked. 0 or a negative
 * errno. [before the thread runs] */
int stop_init(struct worker *w);

/* If the app does not begin to drain in time, do it without; and at last end the process. */
void stop_watch(struct worker *w);

#endif
