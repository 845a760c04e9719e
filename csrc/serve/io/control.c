/* The Unix socket; see control.h. */
#include "serve/io/control.h"

#include "base/buf.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/status.h"
#include "serve/io/worker.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16

const char *control_problem(int err) {
    switch (err) {
    case -ENOTSOCK: return "something else than a socket is there, and is left alone";
    case -EADDRINUSE: return "a server that runs answers there";
    case -ENAMETOOLONG: return "the path is longer than 107 bytes";
    default: return status_text(err);
    }
}

static int unix_socket(void) {
    int fd = fault_here()
                 ? -1
                 : socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

/* Make sure that the name is free. Only a socket that refuses belongs to no server: one
 * that is busy, or not for us, may belong to one. */
static int make_room(const struct sockaddr_un *address) {
    struct stat st;
    if (lstat(address->sun_path, &st) < 0) return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode)) return -ENOTSOCK;
    int fd = unix_socket();
    if (fd < 0) return fd;
    bool refused = connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 &&
                   errno == ECONNREFUSED;
    close(fd);
    if (!refused) return -EADDRINUSE;
    return unlink(address->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

static int bind_and_listen(int fd, const struct sockaddr_un *address, struct stat *file) {
    mode_t before = umask(0177); /* 0600 from its first moment */
    int err =
        bind(fd, (const struct sockaddr *)address, sizeof *address) < 0 ? -errno : 0;
    umask(before);
    if (err < 0) return err;
    if (listen(fd, BACKLOG) < 0 || lstat(address->sun_path, file) < 0) {
        err = -errno;
        unlink(address->sun_path);
    }
    return err;
}

static int listen_at(const char *path, struct stat *file) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    int err = make_room(&address);
    if (err < 0) return err;
    int fd = unix_socket();
    if (fd < 0) return fd;
    err = bind_and_listen(fd, &address, file);
    if (err == 0) return fd;
    close(fd);
    return err;
}

/* Replace "{port}" in the path. */
static int complete_path(struct serve_options *o, unsigned port) {
    const char *mark = strstr(o->control, "{port}");
    if (!mark) return 0;
    struct buf b = {0};
    int err =
        buf_addf(&b, "%.*s%u%s", (int)(mark - o->control), o->control, port, mark + 6);
    char *path = err < 0 ? NULL : mem_strndup(b.p, b.n);
    buf_free(&b);
    if (!path) return err;
    mem_free(o->control);
    o->control = path;
    return 0;
}

int control_open(struct worker *w, uint16_t port) {
    ASSERT_OWNER(&w->loop);
    struct serve_options *o = &w->hub->options;
    int err = complete_path(o, port);
    if (err < 0) return err;
    int fd = listen_at(o->control, &w->control.file);
    if (fd < 0) return fd;
    accept_init(&w->control.accept, w, fd, true);
    accept_start(&w->control.accept);
    return 0;
}

void control_close(struct worker *w) {
    struct control *c = &w->control;
    if (!accept_stop(&c->accept)) return;
    struct stat st;
    const char *path = w->hub->options.control;
    bool ours = lstat(path, &st) == 0 && st.st_dev == c->file.st_dev &&
                st.st_ino == c->file.st_ino;
    if (ours) unlink(path);
}
