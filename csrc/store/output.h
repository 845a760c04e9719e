/* A file that is made beside its name and gets it when it is whole: no process finds half of one,
 * and no file that was there is lost. [one thread] */
#ifndef SLUICE_STORE_OUTPUT_H
#define SLUICE_STORE_OUTPUT_H

struct output {
    int fd;
    char *path, *part; /* part: what it is called meanwhile */
};

/* 0, -EEXIST (one of the two is there) or another negative errno; output_close either way. */
int output_open(struct output *o, const char *path);

/* With err 0: sync it and give it its name; else remove it. Returns err, or what failed. */
int output_close(struct output *o, int err);

#endif
