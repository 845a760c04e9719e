/* The Unix socket of the server's own routes: a process that may open the file is trusted, so it
 * is made with mode 0600. The first worker serves it. */
#ifndef SLUICE_SERVE_IO_CONTROL_H
#define SLUICE_SERVE_IO_CONTROL_H

#include "serve/io/accept.h"

#include <sys/stat.h>

struct worker;

struct control {
    struct accept accept; /* its fd is -1 while there is none */
    struct stat file;
};

/* Listen at the path of the options, where "{port}" is replaced by the port. What a dead server left
 * there goes; nothing else does: -ENOTSOCK, -EADDRINUSE when a server answers,
 * -ENAMETOOLONG, or another negative errno. [before the thread runs] */
int control_open(struct worker *w, uint16_t port);

/* Stop, and remove the file if it is still ours. Idempotent. */
void control_close(struct worker *w);

/* What such an error says about the path. */
const char *control_problem(int err);

#endif
