/* See output.h. The lock of the unfinished file shows whether somebody still writes it. */
#include "store/output.h"

#include "base/mem.h"
#include "base/status.h"
#include "store/why.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PART ".sluice-part"

static int fail(int err, const char *path, const char **why) {
    if (err == -EEXIST)
        *why =
            why_says("'%s' is there already: choose another name, or overwrite it with "
                     "--force",
                     path);
    else if (err == E_LOCKED) *why = why_says("another process is writing '%s'", path);
    else if (err == -ENOSPC || err == -EDQUOT)
        *why = why_says("'%s' was not written: there is no room on its disk", path);
    else *why = why_says("'%s' cannot be written: %s", path, status_text(err));
    return err;
}

/* Lock the unfinished file, and make sure that it is still the one of that name. */
static int take(struct output *o) {
    struct stat own, named;
    if (flock(o->fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? E_LOCKED : -errno;
    if (fstat(o->fd, &own) < 0) return -errno;
    if (lstat(o->part, &named) < 0 || named.st_ino != own.st_ino ||
        named.st_dev != own.st_dev)
        return E_LOCKED;
    if (!S_ISREG(own.st_mode)) return -EEXIST;
    return ftruncate(o->fd, 0) < 0 ? -errno : 0;
}

int output_open(struct output *o, const char *path, bool replace, const char **why) {
    size_t n = strlen(path);
    struct stat st;
    *o = (struct output){.fd = -1, .path = mem_strndup(path, n), .replace = replace};
    o->part = mem_new(n + sizeof PART);
    snprintf(o->part, n + sizeof PART, "%s" PART, path);
    bool there = lstat(path, &st) == 0;
    if (there && (!replace || !S_ISREG(st.st_mode))) return fail(-EEXIST, path, why);
    o->fd = open(o->part, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    int err = o->fd < 0 ? -errno : take(o);
    if (err == 0) return 0;
    if (o->fd >= 0) close(o->fd); /* not ours to remove */
    o->fd = -1;
    return fail(err, path, why);
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
    unsigned flags = o->replace ? 0 : RENAME_NOREPLACE;
    if (fsync(o->fd) < 0) return -errno;
    if (renameat2(AT_FDCWD, o->part, AT_FDCWD, o->path, flags) < 0) return -errno;
    return sync_folder(o->path);
}

int output_close(struct output *o, int err, const char **why) {
    if (o->fd >= 0) {
        int failed = err == 0 ? finish(o) : 0;
        if (failed < 0) err = fail(failed, o->path, why);
        if (err < 0) unlink(o->part);
        close(o->fd);
    }
    mem_free(o->path);
    mem_free(o->part);
    *o = (struct output){.fd = -1};
    return err;
}
