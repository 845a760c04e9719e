/* Connections that can only hang up: a stream's reader says nothing more, and who waits for an
 * answer need not be heard before it.
 *
 * The loop sees one descriptor for all of them. The first that leaves is noticed at once; those that
 * follow are taken together, HANGUPS_MS later, so that readers that come and go by the thousand do not
 * wake the thread for each that goes. But who comes finds that they are gone: before a connection or a
 * request is taken, those that have left are. Where more have left than are taken at a time, the others
 * come in the next turn; where there are several threads nobody waits. [the worker's thread] */
#ifndef SLUICE_SERVE_IO_HANGUPS_H
#define SLUICE_SERVE_IO_HANGUPS_H

#include <ev.h>
#include <stdbool.h>

struct worker;
struct conn;

struct hangups {
    int fd;                /* an epoll of them; -1: none, in a rehearsal */
    struct ev_io ready;    /* some have left: watched unless ... */
    struct ev_timer again; /* ... they are taken together: when next */
};

/* 0 or a negative errno. */
int hangups_init(struct worker *w);
void hangups_deinit(struct worker *w);

/* 'c' is watched here, and by the loop no more, until it is removed. False: it cannot be. */
bool hangups_add(struct conn *c);
void hangups_remove(struct conn *c);

/* Whether some that have left may wait for others. */
bool hangups_wait(const struct worker *w);

/* Those that have left by now are gone: their streams have ended, their places are free, and the app hears
 * of it before it hears of who comes next. False when 'who' is one of them, which may be NULL. (While a
 * batch of sends is open they are gone at the end of the turn.) */
bool hangups_settle(struct worker *w, const struct conn *who);

#endif
