/* Files and sockets of the host; see host.h. */
#include "bind/host.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/status.h"
#include "bind/l_aux.h"
#include "net/ring.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
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

/* The names of the regular files below a folder. */
struct names {
    struct buf *text; /* each with its NUL */
    int n;
};

/* Links are not followed. 0, E_FULL (a limit is hit), E_NOMEM or a negative errno. */
static int list_folder(struct names *out, const char *path, const char *prefix,
                       int depth) {
    if (depth >= FOLDER_DEPTH_MAX) return E_FULL;
    DIR *dir = opendir(path);
    if (!dir) return -errno;
    int err = 0;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): the folder stream is ours alone */
    for (struct dirent *entry; err == 0 && (entry = readdir(dir));) {
        char full[4096], name[4096];
        struct stat st;
        if (entry->d_name[0] == '.') continue;
        int n = snprintf(full, sizeof full, "%s/%s", path, entry->d_name);
        int m = snprintf(name, sizeof name, "%s%s%s", prefix, prefix[0] ? "/" : "",
                         entry->d_name);
        if (n >= (int)sizeof full || m >= (int)sizeof name || lstat(full, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode)) {
            err = list_folder(out, full, name, depth + 1);
        } else if (S_ISREG(st.st_mode)) {
            err = out->n++ < FILES_MAX ? buf_add(out->text, name, (size_t)m + 1) : E_FULL;
        }
    }
    closedir(dir);
    return err;
}

/* core.list_files(folder) -> names of the regular files below it | nil, message, code */
static int l_list_files(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    struct stat st;
    if (stat(path, &st) < 0) return lx_fail(L, -errno);
    if (!S_ISDIR(st.st_mode)) return lx_fail(L, -ENOTDIR);
    struct names names = {.text =
                              lx_newbuf(L)}; /* no folder is open while Lua allocates */
    int err = list_folder(&names, path, "", 0);
    if (err == E_FULL)
        return lx_fail_text(L, err, "a folder may hold 10,000 files, 16 levels deep");
    if (err < 0) return lx_fail(L, err);
    lx_pushnames(L, names.text);
    return 1;
}

/* core.real_path(path) -> the path without links | nil, message, code */
static int l_real_path(lua_State *L) {
    char path[PATH_MAX];
    if (!realpath(luaL_checkstring(L, 1), path)) return lx_fail(L, -errno);
    lua_pushstring(L, path);
    return 1;
}

/* core.read_link(path) -> where the link leads, there or not | nil, message, code */
static int l_read_link(lua_State *L) {
    char target[PATH_MAX];
    ssize_t n = readlink(luaL_checkstring(L, 1), target, sizeof target);
    if (n < 0) return lx_fail(L, -errno);
    lua_pushlstring(L, target, (size_t)n);
    return 1;
}

/* core.statfs(path) -> bytes in all, bytes that a user may still take, bytes in use
 * | nil, message, code. The first is more than the others where some are kept for root. */
static int l_statfs(lua_State *L) {
    struct statvfs st;
    if (statvfs(luaL_checkstring(L, 1), &st) < 0) return lx_fail(L, -errno);
    double unit = (double)st.f_frsize;
    lua_pushinteger(L, (lua_Integer)((double)st.f_blocks * unit));
    lua_pushinteger(L, (lua_Integer)((double)st.f_bavail * unit));
    lua_pushinteger(L, (lua_Integer)((double)(st.f_blocks - st.f_bfree) * unit));
    return 3;
}

/* ---- Addresses ---------------------------------------------------------------------- */

struct addresses {
    unsigned n;
    char text[ADDRESSES_MAX][INET6_ADDRSTRLEN];
};

/* Addresses of a link only mean something together with an interface. */
static const void *usable(const struct ifaddrs *i) {
    if (!i->ifa_addr || !(i->ifa_flags & IFF_UP)) return NULL;
    if (i->ifa_addr->sa_family == AF_INET)
        return &((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr;
    if (i->ifa_addr->sa_family != AF_INET6) return NULL;
    const struct in6_addr *ip =
        &((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr;
    return IN6_IS_ADDR_LINKLOCAL(ip) ? NULL : ip;
}

static int list_addresses(struct addresses *out) {
    struct ifaddrs *all;
    if (getifaddrs(&all) < 0) return -errno;
    for (const struct ifaddrs *i = all; i && out->n < ADDRESSES_MAX; i = i->ifa_next) {
        const void *ip = usable(i);
        if (ip &&
            inet_ntop(i->ifa_addr->sa_family, ip, out->text[out->n], INET6_ADDRSTRLEN))
            out->n++;
    }
    freeifaddrs(all);
    return 0;
}

/* core.addresses() -> the addresses of this machine, as texts | nil, message, code */
static int l_addresses(lua_State *L) {
    struct addresses *list = lx_scratch(L, sizeof *list);
    int err = list_addresses(list);
    if (err < 0) return lx_fail(L, err);
    lua_createtable(L, (int)list->n, 0);
    for (unsigned i = 0; i < list->n; i++) {
        lua_pushstring(L, list->text[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* ---- The runtime folder ------------------------------------------------------------- */

/* Ours alone: a folder of this user that no other may write. NULL, or why not. */
static const char *check_private(const char *path) {
    struct stat st;
    if (lstat(path, &st) < 0) return status_text(-errno);
    if (S_ISLNK(st.st_mode)) return "is a symbolic link";
    if (!S_ISDIR(st.st_mode)) return "is no folder";
    if (st.st_uid != geteuid()) return "belongs to another user";
    return st.st_mode & 022 ? "others may write into it" : NULL;
}

struct tries {
    char path[512];
    char trouble[2048]; /* "/a/sluice: is no folder, /b/sluice: …" */
};

static bool refuse(struct tries *t, const char *why) {
    size_t n = strlen(t->trouble);
    snprintf(t->trouble + n, sizeof t->trouble - n, "%s%s: %s", n > 0 ? ", " : "",
             t->path, why);
    return false;
}

/* Whether the folder is there, or could be made, and is ours alone. */
static bool try_folder(struct tries *t, const char *above, const char *name) {
    int n = snprintf(t->path, sizeof t->path, "%s/%s", above, name);
    if (n < 0 || n >= (int)sizeof t->path) return refuse(t, status_text(-ENAMETOOLONG));
    if (mkdir(t->path, 0700) < 0 && errno != EEXIST)
        return refuse(t, status_text(-errno));
    const char *why = check_private(t->path);
    return why ? refuse(t, why) : true;
}

static bool try_own(struct tries *t) {
    const char *own = getenv("XDG_RUNTIME_DIR"); /* NOLINT(concurrency-mt-unsafe) */
    if (!own || !own[0]) return false;
    if (own[0] == '/') return try_folder(t, own, "sluice");
    snprintf(t->path, sizeof t->path, "%s", own);
    return refuse(t, "is no absolute path");
}

/* Only root can make one there, but may have made one for us. */
static bool try_system(struct tries *t) {
    struct stat st;
    if (geteuid() != 0 && lstat("/run/sluice", &st) < 0) return false;
    return try_folder(t, "/run", "sluice");
}

/* What systemd made for this service alone; the first of a list. */
static bool try_service(struct tries *t) {
    const char *own = getenv("RUNTIME_DIRECTORY"); /* NOLINT(concurrency-mt-unsafe) */
    if (!own || own[0] != '/') return false;
    snprintf(t->path, sizeof t->path, "%.*s", (int)strcspn(own, ":"), own);
    const char *why = check_private(t->path);
    return why ? refuse(t, why) : true;
}

/* core.runtime_dir() -> path[, why it is not the first choice] | nil, message, code: for the
 * socket and the admin key; made with mode 0700. $RUNTIME_DIRECTORY, else
 * $XDG_RUNTIME_DIR/sluice, else /run/sluice, else /tmp/sluice-UID. */
static int l_runtime_dir(lua_State *L) {
    struct tries t = {0};
    char own_name[32];
    snprintf(own_name, sizeof own_name, "sluice-%u", (unsigned)geteuid());
    if (!try_service(&t) && !try_own(&t) && !try_system(&t) &&
        !try_folder(&t, "/tmp", own_name))
        return lx_fail_text(L, E_DENIED, t.trouble);
    lua_pushstring(L, t.path);
    if (t.trouble[0] == '\0') return 1;
    lua_pushstring(L, t.trouble);
    return 2;
}

static int write_private(const char *path, struct slice text) {
    int flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    int fd = open(path, flags, 0600);
    if (fd < 0) return -errno;
    int err = fchmod(fd, 0600) < 0 ? -errno : 0;
    if (err == 0 && write(fd, text.p, text.n) != (ssize_t)text.n) err = -EIO;
    close(fd);
    return err;
}

/* Make a folder and those above it that are missing. 0 or a negative errno. */
static int make_folders(char *path) {
    for (char *p = path + 1; *p; p++) {
        if (*p != '/') continue;
        *p = 0;
        int failed = mkdir(path, 0777) < 0 && errno != EEXIST;
        *p = '/';
        if (failed) return -errno;
    }
    return mkdir(path, 0777) < 0 && errno != EEXIST ? -errno : 0;
}

/* core.make_folder(path) -> true | nil, message, code: those above it, too; one that is there
 * is fine */
static int l_make_folder(lua_State *L) {
    struct slice path = lx_checkslice(L, 1);
    luaL_argcheck(L, path.n > 0, 1, "a path is expected");
    char *copy = lx_scratch(L, path.n + 1);
    memcpy(copy, path.p, path.n);
    int err = make_folders(copy);
    if (err < 0) return lx_fail(L, err);
    lua_pushboolean(L, true);
    return 1;
}

/* core.write_private(path, text) -> true | nil, message, code: a file with mode 0600 */
static int l_write_private(lua_State *L) {
    int err = write_private(luaL_checkstring(L, 1), lx_checkslice(L, 2));
    if (err < 0) return lx_fail(L, err);
    lua_pushboolean(L, true);
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
        if (n < 0 && errno == ECONNRESET && out->n > 0) return 0; /* it did not listen */
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
    /* one that has sent us away may have said why */
    if (err == 0 || err == -EPIPE) err = receive_all(fd, out);
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
    struct buf *answer = lx_newbuf(L);
    int err = exchange(path, request, seconds, answer);
    if (err < 0) return lx_fail(L, err);
    lx_pushslice(L, buf_slice(answer));
    buf_free(answer);
    return 1;
}

/* core.is_terminal(descriptor) -> whether somebody reads along */
static int l_is_terminal(lua_State *L) {
    lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
    return 1;
}

/* core.io_uring() -> "yes" and what there is of it | nil, why not */
static int l_io_uring(lua_State *L) {
    struct ring *r;
    int err = ring_new(&r);
    if (err < 0) {
        lua_pushnil(L);
        lua_pushstring(L, ring_problem(err));
        return 2;
    }
    char text[RING_TEXT_MAX];
    ring_describe(r, text, sizeof text);
    ring_free(r);
    lua_pushstring(L, text);
    return 1;
}

/* A program that is started without stdin, stdout or stderr would find its next file or
 * socket there, and write its log into it. */
static void hold_standard(void) {
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0) (void)open("/dev/null", O_RDWR);
}

/* The interpreter turns SIGINT into an error somewhere in the script, with a traceback. A
 * command that has not begun anything yet just ends, so that a shell sees 130. */
static int l_default_interrupt(lua_State *L) {
    (void)L;
    signal(SIGINT, SIG_DFL);
    return 0;
}

void host_add_functions(lua_State *L) {
    hold_standard();
    static const luaL_Reg functions[] = {{"default_interrupt", l_default_interrupt},
                                         {"list_files", l_list_files},
                                         {"statfs", l_statfs},
                                         {"real_path", l_real_path},
                                         {"read_link", l_read_link},
                                         {"addresses", l_addresses},
                                         {"runtime_dir", l_runtime_dir},
                                         {"write_private", l_write_private},
                                         {"make_folder", l_make_folder},
                                         {"call", l_call},
                                         {"is_terminal", l_is_terminal},
                                         {"io_uring", l_io_uring},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
