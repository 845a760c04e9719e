/* Connections that can only hang up: a stream's reader says nothing more, and who waits for an
 * answer need not be heard before it.
 *
 * The loop sees one descriptor for all of them. The first that leaves is noticed at once; those that
 * follow are taken together, HANGUPS_MS later, so that readers that come and go by the thousand do not
 * wake the thread for each that goes. Where more have left than are taken at a time, the others come in
 * the next turn. Where places are limited (limits.h) nobody waits: one that leaves makes room.
 * [the worker's thread] */
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

/* Take those that have left by now, HANGUPS_MAX at most: how many there were. */
int hangups_take(struct worker *w);

#endif
