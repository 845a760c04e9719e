/* A disk whose syncs take a millisecond more, by LD_PRELOAD, for a server and for SQLite
 * alone: on a machine whose disk only claims to have synced, what is compared is processor
 * time; an SSD that keeps its word takes half a millisecond to five. */
#include <dlfcn.h>
#include <time.h>

#define MORE_NS 1000000

int fdatasync(int fd) {
    const struct timespec more = {.tv_nsec = MORE_NS};
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    nanosleep(&more, NULL);
    return real(fd);
}
