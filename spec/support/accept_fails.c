/* For LD_PRELOAD: accept4() fails with the error whose number the file $ACCEPT_FAILS holds,
 * for as long as it holds one. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static int wanted_error(void) {
    int error = 0;
    const char *path = getenv("ACCEPT_FAILS");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return 0;
    if (fscanf(file, "%d", &error) != 1) error = 0;
    fclose(file);
    return error;
}

int accept4(int fd, struct sockaddr *address, socklen_t *n, int flags) {
    int (*real)(int, struct sockaddr *, socklen_t *, int) =
        (int (*)(int, struct sockaddr *, socklen_t *, int))dlsym(RTLD_NEXT, "accept4");
    int error = wanted_error();
    if (error == 0) return real(fd, address, n, flags);
    errno = error;
    return -1;
}
