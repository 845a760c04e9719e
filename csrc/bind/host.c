/* Files and sockets of the host; see host.h. */
#include "bind/host.h"

#include "base/mem.h"
#include "base/status.h"
#include "bind/l_aux.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- Folders ------------------------------------------------------------------------ */

#define FILES_MAX 10000
#define FOLDER_DEPTH_MAX 16

/* Append the regular files below 'path' to the list on top of the stack. Links are not
 * followed. False when a limit is hit. Nothing raises here: the names are pushed as
 * strings only after their folder is closed. */
static bool list_folder(lua_State *L, const char *path, const char *prefix, int depth) {
    DIR *dir = depth < FOLDER_DEPTH_MAX ? opendir(path) : NULL;
    if (!dir) return false;
    bool good = true;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): the folder stream is ours alone */
    for (struct dirent *entry; good && (entry = readdir(dir));) {
        char full[4096], name[4096];
        struct stat st;
        if (entry->d_name[0] == '.') continue;
        int n = snprintf(full, sizeof full, "%s/%s", path, entry->d_name);
        int m = snprintf(name, sizeof name, "%s%s%s", prefix, prefix[0] ? "/" : "",
                         entry->d_name);
        if (n >= (int)sizeof full || m >= (int)sizeof name || lstat(full, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode)) {
            good = list_folder(L, full, name, depth + 1);
        } else if (S_ISREG(st.st_mode)) {
            lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
            good = count < FILES_MAX;
            lua_pushstring(L, name);
            lua_rawseti(L, -2, count + 1);
        }
    }
    closedir(dir);
    return good;
}

/* core.list_files(folder) -> names of the regular files below it | nil, message, code */
static int l_list_files(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    struct stat st;
    if (stat(path, &st) < 0) return lx_fail(L, -errno);
    if (!S_ISDIR(st.st_mode)) return lx_fail(L, -ENOTDIR);
    luaL_checkstack(L, 8, "folders");
    lua_newtable(L);
    if (!list_folder(L, path, "", 0))
        return lx_fail_text(L, E_FULL, "a folder may hold 10,000 files, 16 levels deep");
    return 1;
}

/* core.statfs(path) -> total bytes, free bytes | nil, message, code */
static int l_statfs(lua_State *L) {
    struct statvfs st;
    if (statvfs(luaL_checkstring(L, 1), &st) < 0) return lx_fail(L, -errno);
    lua_pushnumber(L, (double)st.f_blocks * (double)st.f_frsize);
    lua_pushnumber(L, (double)st.f_bavail * (double)st.f_frsize);
    return 2;
}

/* ---- The runtime folder ------------------------------------------------------------- */

/* Ours alone: a folder of this user that nobody else may write. 0 or a negative code. */
static int check_private(const char *path) {
    struct stat st;
    if (lstat(path, &st) < 0) return -errno;
    if (!S_ISDIR(st.st_mode)) return -ENOTDIR;
    return st.st_uid == geteuid() && (st.st_mode & 022) == 0 ? 0 : E_DENIED;
}

static int try_folder(char *out, size_t size, const char *above, const char *name) {
    int n = snprintf(out, size, "%s/%s", above, name);
    if (n < 0 || n >= (int)size) return -ENAMETOOLONG;
    if (mkdir(out, 0700) < 0 && errno != EEXIST) return -errno;
    return check_private(out);
}

/* core.runtime_dir() -> path | nil, message, code: for the socket and the admin key; made
 * with mode 0700. $XDG_RUNTIME_DIR/sluice, else /run/sluice, else /tmp/sluice-UID. */
static int l_runtime_dir(lua_State *L) {
    char path[512], own_name[32];
    snprintf(own_name, sizeof own_name, "sluice-%u", (unsigned)geteuid());
    const char *own = getenv("XDG_RUNTIME_DIR"); /* NOLINT(concurrency-mt-unsafe) */
    int err =
        own && own[0] == '/' ? try_folder(path, sizeof path, own, "sluice") : E_NOTFOUND;
    if (err < 0) err = try_folder(path, sizeof path, "/run", "sluice");
    if (err < 0) err = try_folder(path, sizeof path, "/tmp", own_name);
    if (err == E_DENIED)
        return lx_fail_text(L, err,
                            "the runtime folder belongs to somebody else, or others "
                            "may write into it");
    if (err < 0) return lx_fail(L, err);
    lua_pushstring(L, path);
    return 1;
}

/* ---- One request over a Unix socket ------------------------------------------------- */

static int send_all(int fd, struct slice bytes) {
    while (bytes.n > 0) {
        ssize_t n = send(fd, bytes.p, bytes.n, MSG_NOSIGNAL);
        if (n < 0) return -errno;
        bytes = slice_of(bytes.p + n, bytes.n - (size_t)n);
    }
    return 0;
}

static int receive_all(int fd, struct buf *out) {
    char part[4096];
    for (ssize_t n; (n = recv(fd, part, sizeof part, 0)) != 0;) {
        if (n < 0) return errno == EAGAIN ? -ETIMEDOUT : -errno;
        if (buf_add(out, part, (size_t)n) < 0) return E_NOMEM;
    }
    return 0;
}

static int exchange(const char *path, struct slice request, double seconds,
                    struct buf *out) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    struct timeval wait = {.tv_sec = (time_t)seconds};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    int err = connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
    if (err == 0) err = send_all(fd, request);
    if (err == 0) err = receive_all(fd, out);
    close(fd);
    return err;
}

/* core.call(socket, request[, seconds]) -> the bytes until the peer ends | nil, message,
 * code. Blocks: for the command line, not for a server. */
static int l_call(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    struct slice request = lx_checkslice(L, 2);
    double seconds = luaL_optnumber(L, 3, 30);
    luaL_argcheck(L, seconds >= 1 && seconds <= 3600, 3, "1 to 3600 seconds");
    struct buf answer = {0};
    int err = exchange(path, request, seconds, &answer);
    if (err == 0) lx_pushslice(L, buf_slice(&answer));
    buf_free(&answer);
    return err == 0 ? 1 : lx_fail(L, err);
}

void host_add_functions(lua_State *L) {
    static const luaL_Reg functions[] = {{"list_files", l_list_files},
                                         {"statfs", l_statfs},
                                         {"runtime_dir", l_runtime_dir},
                                         {"call", l_call},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
