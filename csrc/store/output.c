/* See output.h. */
#include "store/output.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int output_open(struct output *o, const char *path) {
    size_t n = strlen(path);
    *o = (struct output){.fd = -1, .path = mem_strndup(path, n)};
    o->part = mem_new(n + sizeof ".part");
    snprintf(o->part, n + sizeof ".part", "%s.part", path);
    if (access(path, F_OK) == 0) return -EEXIST;
    o->fd = open(o->part, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return o->fd < 0 ? -errno : 0;
}

/* The name itself is on the disk when its folder is. */
static int sync_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder =
        slash ? mem_strndup(path, (size_t)(slash - path) + 1) : mem_strndup(".", 1);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err = fd >= 0 && fsync(fd) == 0 ? 0 : -errno;
    if (fd >= 0) close(fd);
    mem_free(folder);
    return err;
}

static int finish(struct output *o) {
    if (fsync(o->fd) < 0) return -errno;
    if (renameat2(AT_FDCWD, o->part, AT_FDCWD, o->path, RENAME_NOREPLACE) < 0)
        return -errno;
    return sync_folder(o->path);
}

int output_close(struct output *o, int err) {
    if (o->fd >= 0) {
        if (err == 0) err = finish(o);
        if (err < 0) unlink(o->part);
        close(o->fd);
    }
    mem_free(o->path);
    mem_free(o->part);
    *o = (struct output){.fd = -1};
    return err;
}
