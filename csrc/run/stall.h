/* Logs when the app's thread does not come back: from a thread of its own, while
 * it lasts and again when it is over.
 *
 * The app's thread says when a run begins and ends: one run between two suspension points of
 * a script, or what the runtime does around them. A run that lasts is logged after
 * STALL_FIRST_MS, then each time it has lasted twice as long. Whether it computes, waits
 * for a processor or waits elsewhere is judged by what the kernel counted for the thread
 * (/proc/thread-self/schedstat), not by the time that passed: on a busy machine both differ.
 *
 * One thread per process is watched, since one has the scripts; the state is static. The
 * watcher sleeps while no run goes on, and looks at most once in STALL_FIRST_MS while runs
 * come and go. [the watched thread calls all of this] */
#ifndef SLUICE_RUN_STALL_H
#define SLUICE_RUN_STALL_H

#include <stdbool.h>
#include <stdint.h>

/* Watch the calling thread from now on; idempotent. 0 or a negative errno. Without it runs
 * are still logged when they are over. */
int stall_watch(void);

/* What stops a run that computes: after so many ms of it; 0: nothing does. */
void stall_budget(int64_t ms);

/* A run begins, inside of another one or not. 'name' is borrowed until it ends, as
 * "GET /x (app.lua:3)"; NULL: the runtime's own. Returns how deep it is, for stall_leave. */
int stall_enter(const char *name);

/* The run of that depth ends, and those inside of it. */
void stall_leave(int depth);

/* Where the script is, as far as is known ("app.lua:9"): copied. */
void stall_place(const char *place);

/* Nothing comes after the run that goes on but the end of the process: when it lasts for
 * END_STUCK_MS, the process ends without it. */
void stall_is_last(void);

#endif
