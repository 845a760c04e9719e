/* For LD_PRELOAD: writes and syncs of a store's files fail, hang, or are the process's last, as
 * the file $DISK_FAILS says: nine 32-bit numbers, mapped, so that a spec changes them while the
 * server runs; see disk_fails.lua. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct wanted {
    int32_t write_error, write_every; /* errno; of every n-th write */
    int32_t sync_error, sync_every;
    int32_t sync_ms;       /* a sync takes so long more */
    int32_t die_in;        /* SIGKILL at the n-th write or sync from now, half done */
    int32_t lock_error;    /* errno of each write to the folder's file lock */
    int32_t writes, syncs; /* how many have failed */
};

static struct wanted none, *wanted = &none;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("DISK_FAILS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *map = mmap(NULL, sizeof *wanted, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED) wanted = map;
    close(fd);
}

static int is_named(int fd, const char *name) {
    char link[64], path[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return strstr(path, name) && !strstr(path, "-shm");
}

static int is_store(int fd) {
    return is_named(fd, "/sluice.db");
}

static int is_due(int32_t every, int32_t *n) {
    static int32_t calls;
    if (every <= 0 || __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) % every != 0)
        return 0;
    __atomic_add_fetch(n, 1, __ATOMIC_RELAXED);
    return 1;
}

static int is_last(void) {
    return wanted->die_in > 0 &&
           __atomic_sub_fetch(&wanted->die_in, 1, __ATOMIC_RELAXED) == 0;
}

typedef ssize_t pwrite_fn(int fd, const void *p, size_t n, off64_t at);

static ssize_t do_write(const char *name, int fd, const void *p, size_t n, off64_t at) {
    pwrite_fn *real = (pwrite_fn *)dlsym(RTLD_NEXT, name);
    if (wanted->lock_error && is_named(fd, "/lock")) {
        errno = wanted->lock_error;
        return -1;
    }
    if (!is_store(fd)) return real(fd, p, n, at);
    if (is_last()) {
        if (real(fd, p, n / 2, at) >= 0) raise(SIGKILL);
    }
    if (!wanted->write_error || !is_due(wanted->write_every, &wanted->writes))
        return real(fd, p, n, at);
    errno = wanted->write_error;
    return -1;
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at) {
    return do_write("pwrite", fd, p, n, at);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at) {
    return do_write("pwrite64", fd, p, n, at);
}

static int do_sync(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (!is_store(fd)) return real(fd);
    if (is_last()) raise(SIGKILL);
    if (wanted->sync_ms > 0) usleep((useconds_t)wanted->sync_ms * 1000);
    if (!wanted->sync_error || !is_due(wanted->sync_every, &wanted->syncs))
        return real(fd);
    errno = wanted->sync_error;
    return -1;
}

int fsync(int fd) {
    return do_sync("fsync", fd);
}

int fdatasync(int fd) {
    return do_sync("fdatasync", fd);
}
