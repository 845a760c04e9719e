/* What passes between a server and the service manager; see manager.h. */
#include "bind/manager.h"

#include "base/status.h"
#include "bind/l_aux.h"
#include "net/address.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* A manager that does not read must not hold up the app for longer. */
#define NOTIFY_SECONDS 1

bool manager_reads_log(void) {
    const char *text = getenv("JOURNAL_STREAM"); /* NOLINT(concurrency-mt-unsafe) */
    unsigned long long device, file;
    struct stat st;
    /* NOLINTNEXTLINE(cert-err34-c): numbers that do not fit are no file either */
    if (!text || sscanf(text, "%llu:%llu", &device, &file) != 2) return false;
    return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == file;
}

/* core.listening(descriptor) -> an address and a port, or the path of a Unix socket
 * | nil, message, code: it is no socket that listens */
static int l_listening(lua_State *L) {
    char text[LISTENING_TEXT_MAX];
    uint16_t port;
    int err = address_listening((int)luaL_checkinteger(L, 1), text, &port);
    if (err < 0) return lx_fail(L, err);
    lua_pushstring(L, text);
    if (port == 0) return 1;
    lua_pushinteger(L, port);
    return 2;
}

/* To a path, or with "@" a name without a file. */
static int send_to(const char *path, struct slice text) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof to.sun_path) return -ENAMETOOLONG;
    memcpy(to.sun_path, path, n);
    if (path[0] == '@') to.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    struct timeval wait = {.tv_sec = NOTIFY_SECONDS};
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    ssize_t sent = sendto(fd, text.p, text.n, MSG_NOSIGNAL, (struct sockaddr *)&to, size);
    int err = sent < 0 ? -errno : 0;
    close(fd);
    return err;
}

/* core.notify(socket, text) -> true | nil, message, code: tell the service manager */
static int l_notify(lua_State *L) {
    int err = send_to(luaL_checkstring(L, 1), lx_checkslice(L, 2));
    if (err < 0) return lx_fail(L, err);
    lua_pushboolean(L, true);
    return 1;
}

/* core.pid() -> the process's number */
static int l_pid(lua_State *L) {
    lua_pushinteger(L, getpid());
    return 1;
}

/* core.reads_log() -> whether stderr leads to the journal */
static int l_reads_log(lua_State *L) {
    lua_pushboolean(L, manager_reads_log());
    return 1;
}

void manager_add_functions(lua_State *L) {
    static const luaL_Reg functions[] = {{"listening", l_listening},
                                         {"notify", l_notify},
                                         {"pid", l_pid},
                                         {"reads_log", l_reads_log},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
