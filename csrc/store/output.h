/* A file that is made beside its name and gets it when it is whole: no process finds half of one,
 * and no file that was there is lost. [one thread] */
#ifndef SLUICE_STORE_OUTPUT_H
#define SLUICE_STORE_OUTPUT_H

#include <stdbool.h>

struct output {
    int fd;
    char *path, *part; /* part: what it is called meanwhile */
    bool replace;
};

/* Without 'replace' there must be none of that name. What a process that was killed has left
 * under the other name is used again. 0, -EEXIST, E_LOCKED (another process writes it) or
 * another negative errno, and a sentence; output_close either way. */
int output_open(struct output *o, const char *path, bool replace, const char **why);

/* With err 0: sync it and give it its name; else remove it. Returns err, or what failed and a
 * sentence. */
int output_close(struct output *o, int err, const char **why);

#endif
