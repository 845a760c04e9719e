/* Two descriptors and four inode numbers; see folder.h. */
#include "store/folder.h"

#include "base/crc32c.h"
#include "base/decimal.h"
#include "base/mem.h"
#include "base/status.h"
#include "store/why.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static char *joined(const char *path, const char *name) {
    size_t n = strlen(path) + strlen(name) + 2;
    char *whole = mem_new(n);
    snprintf(whole, n, "%s/%s", path, name);
    return whole;
}

static int fail(int err, const char *path, const char *what, const char **why) {
    *why = why_says("the data folder '%s' %s", path, what);
    return err;
}

static int fail_errno(const char *path, const char *what, const char **why) {
    int err = -errno;
    bool denied = err == -EACCES || err == -EPERM || err == -EROFS || err == -ENOENT;
    *why = why_says("the data folder '%s' %s: %s%s", path, what, status_text(err),
                    denied ? "; choose another one with --data" : "");
    return err;
}

/* A link is followed where it is root's or our own, as the one that systemd makes for a service
 * is; that of another user may lead anywhere. */
static int open_folder(const char *path) {
    struct stat link;
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    bool trusted = lstat(path, &link) == 0 && S_ISLNK(link.st_mode) &&
                   (link.st_uid == 0 || link.st_uid == geteuid());
    return open(path, trusted ? flags : flags | O_NOFOLLOW);
}

/* SQLite refuses symbolic links anywhere in a name, so it gets the real one; that it is the
 * folder that was opened is looked at. */
static int find(struct folder *f, const char *path, const char **why) {
    f->dir = open_folder(path);
    if (f->dir < 0 && (errno == ELOOP || errno == ENOTDIR))
        return fail(E_INVAL, path, "is another user's symbolic link, or no folder", why);
    if (f->dir < 0) return fail_errno(path, "cannot be opened", why);
    struct stat own, named;
    if (fstat(f->dir, &own) < 0) return fail_errno(path, "cannot be looked at", why);
    char *real = realpath(path, NULL);
    if (!real) return fail_errno(path, "has no name", why);
    f->path = mem_strndup(real, strlen(real));
    free(real);
    f->file = joined(f->path, FOLDER_FILE);
    f->dev = own.st_dev;
    f->ino = own.st_ino;
    if (stat(f->path, &named) < 0 || named.st_ino != own.st_ino ||
        named.st_dev != own.st_dev)
        return fail(E_INVAL, path, "is being replaced", why);
    return 0;
}

/* The lock's first line has the process, the second the mark. */
#define MARK_AT 16
#define MARK_BYTES 96

#define ROOM_BYTES (1024 * 1024)

/* File systems keep times by ticks of up to two seconds. */
#define SETTLED_SECONDS 3

/* Who has it, as its lock says: a hint for the message. */
static int holder(int lock) {
    char text[16] = "";
    ssize_t n = pread(lock, text, sizeof text - 1, 0);
    return n > 0 ? (int)strtol(text, NULL, 10) : 0;
}

/* Whose it is, could change the files under the server; so could everybody. */
static int check_owner(const struct folder *f, const char *path, const char **why) {
    struct stat st;
    if (fstat(f->dir, &st) < 0) return fail_errno(path, "cannot be looked at", why);
    if (st.st_uid != geteuid())
        return fail(E_INVAL, path,
                    "belongs to another user: give it to this one (chown), or choose "
                    "another folder with --data",
                    why);
    if (st.st_mode & S_IWOTH)
        return fail(E_INVAL, path, "can be written by every user: chmod 700", why);
    return 0;
}

/* SQLite's other files get the mode of this one. */
static int make_file(const struct folder *f, const char **why) {
    int file =
        openat(f->dir, FOLDER_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file < 0) return fail_errno(f->path, "holds no store that can be written", why);
    close(file);
    return 0;
}

/* Of one of its files. Never its times: a file whose times were read gets finer ones with its
 * next write, which has to reach the disk with that write's sync (a third more; Linux 6.13). */
static bool look_at(const struct folder *f, const char *name, struct statx *out) {
    return statx(f->dir, name, AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_SIZE, out) == 0;
}

static ino_t inode(const struct folder *f, const char *name) {
    struct statx st;
    return look_at(f, name, &st) ? st.stx_ino : 0;
}

static int take_lock(struct folder *f, const char **why) {
    struct stat st;
    f->lock = openat(f->dir, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (f->lock < 0) return fail_errno(f->path, "cannot be written", why);
    if (flock(f->lock, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK) return fail_errno(f->path, "cannot be locked", why);
        *why = why_says("the data folder '%s' is used by another process (%d)", f->path,
                        holder(f->lock));
        return E_LOCKED;
    }
    if (fstat(f->lock, &st) < 0) return fail_errno(f->path, "cannot be looked at", why);
    f->lock_ino = st.st_ino;
    if (inode(f, "lock") != f->lock_ino) /* removed since it was opened */
        return fail(E_LOCKED, f->path, "is being changed by another process", why);
    char text[MARK_AT + 1];
    int n = snprintf(text, sizeof text, "%-*d\n", MARK_AT - 1, (int)getpid());
    if (pwrite(f->lock, text, (size_t)n, 0) < 0)
        return fail_errno(f->path, "cannot be written", why);
    return 0;
}

int folder_open(struct folder *f, const char *path, const char **why) {
    *f = (struct folder){.dir = -1, .lock = -1};
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return fail_errno(path, "cannot be made", why);
    int err = find(f, path, why);
    if (err == 0) err = check_owner(f, path, why);
    if (err == 0) err = take_lock(f, why);
    if (err == 0) err = make_file(f, why);
    if (err < 0) folder_close(f);
    return err;
}

int folder_look(struct folder *f, const char *path, const char **why) {
    *f = (struct folder){.dir = -1, .lock = -1};
    int err = find(f, path, why);
    if (err == -ENOENT) err = E_NOTFOUND;
    if (err == 0 && faccessat(f->dir, FOLDER_FILE, R_OK, 0) < 0)
        err = fail(E_NOTFOUND, path, "holds no store that can be read", why);
    if (err == 0) f->lock = openat(f->dir, "lock", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (err < 0) folder_close(f);
    return err;
}

void folder_close(struct folder *f) {
    if (f->lock >= 0) close(f->lock);
    if (f->dir >= 0) close(f->dir);
    mem_free(f->path);
    mem_free(f->file);
    *f = (struct folder){.dir = -1, .lock = -1};
}

bool folder_has(const char *path) {
    char *file = joined(path, FOLDER_FILE);
    bool has = access(file, F_OK) == 0;
    mem_free(file);
    return has;
}

void folder_note(struct folder *f) {
    f->file_ino = inode(f, FOLDER_FILE);
    f->wal_ino = inode(f, FOLDER_WAL);
    f->seen = (struct timespec){0};
}

static const char *entry_trouble(const struct folder *f) {
    if (f->file_ino && inode(f, FOLDER_FILE) != f->file_ino)
        return "the store's file was removed or replaced";
    if (f->wal_ino && inode(f, FOLDER_WAL) != f->wal_ino)
        return "the store's log file was removed or replaced";
    if (inode(f, "lock") != f->lock_ino)
        return "the store's lock was removed or replaced";
    return NULL;
}

/* Once the time of its last change lies behind, another change gives it another time: with
 * the same one its entries are what they were. */
static void note_seen(struct folder *f, const struct stat *st) {
    bool is_past = time(NULL) - st->st_mtim.tv_sec >= SETTLED_SECONDS;
    f->seen = is_past ? st->st_mtim : (struct timespec){0};
}

static bool is_as_seen(const struct folder *f, const struct stat *st) {
    return f->seen.tv_sec != 0 && f->seen.tv_sec == st->st_mtim.tv_sec &&
           f->seen.tv_nsec == st->st_mtim.tv_nsec;
}

const char *folder_trouble(struct folder *f) {
    struct stat st;
    if (stat(f->path, &st) < 0) return "the data folder is gone";
    if (st.st_ino != f->ino || st.st_dev != f->dev) return "the data folder was replaced";
    if (is_as_seen(f, &st)) return NULL;
    const char *trouble = entry_trouble(f);
    if (!trouble) note_seen(f, &st);
    return trouble;
}

static void parse_mark(const char *text, struct head *out) {
    size_t n = strcspn(text, " ");
    char *end;
    if (n > STORE_EPOCH_LENGTH) return;
    memcpy(out->epoch, text, n);
    out->last = strtoull(text + n, &end, 10);
    out->commits = strtoull(end, NULL, 10);
}

/* Twenty digits, and a space before them. */
static char *put_number(char *at, uint64_t number) {
    char *end = at + 21, *first = decimal_before(end, number);
    *at = ' ';
    memset(at + 1, '0', (size_t)(first - at - 1));
    return end;
}

/* "epoch last commits crc", by hand: each commit writes it. */
static int put_mark(char *text, const struct head *head) {
    size_t n = strlen(head->epoch);
    memcpy(text, head->epoch, n);
    char *at = put_number(put_number(text + n, head->last), head->commits);
    uint32_t crc = crc32c(0, text, (size_t)(at - text));
    memcpy(at, " 00000000\n", sizeof " 00000000\n");
    char digits[16], *end = digits + sizeof digits, *first = hex_before(end, crc);
    memcpy(at + 9 - (end - first), first, (size_t)(end - first));
    return (int)(at - text) + 10;
}

int folder_mark(const struct folder *f, const struct head *head) {
    char text[MARK_BYTES];
    int n = put_mark(text, head);
    ssize_t done = pwrite(f->lock, text, (size_t)n, MARK_AT);
    if (done == n) return 0;
    return done < 0 ? -errno : -ENOSPC; /* a part of it had room */
}

bool folder_marked(const struct folder *f, struct head *out) {
    char text[MARK_BYTES] = "", whole[MARK_BYTES];
    *out = (struct head){0};
    if (pread(f->lock, text, sizeof text - 1, MARK_AT) <= 0) return false;
    parse_mark(text, out);
    put_mark(whole, out);
    return strcmp(text, whole) == 0;
}

bool folder_has_room(const struct folder *f) {
    struct statvfs st;
    return fstatvfs(f->dir, &st) < 0 || (uint64_t)st.f_bavail * st.f_frsize >= ROOM_BYTES;
}

uint64_t folder_wal_bytes(const struct folder *f) {
    struct statx st;
    return look_at(f, FOLDER_WAL, &st) ? st.stx_size : 0;
}

/* The kernel's list of locks: "1: FLOCK  ADVISORY  WRITE 4711 fe:01:262147 0 EOF". The device
 * there is not always the file's own. */
static int holder_of(const char *line, ino_t ino) {
    const char *p = strstr(line, "FLOCK");
    const char *write = p ? strstr(p, " WRITE ") : NULL;
    if (!write) return 0;
    char *end;
    long pid = strtol(write + strlen(" WRITE "), &end, 10);
    for (int colons = 0; *end && colons < 2; end++) colons += *end == ':';
    return strtoull(end, NULL, 10) == ino ? (int)pid : 0;
}

int folder_holder(const struct folder *f) {
    ino_t ino = inode(f, "lock");
    FILE *list = ino ? fopen("/proc/locks", "re") : NULL;
    char line[256];
    int found = 0;
    while (list && found <= 0 && fgets(line, sizeof line, list))
        found = holder_of(line, ino);
    if (list) fclose(list);
    return found > 0 ? found : 0;
}

void folder_clear(const struct folder *f) {
    static const char *const names[] = {FOLDER_FILE, FOLDER_WAL, FOLDER_FILE "-shm",
                                        "lock"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlinkat(f->dir, names[i], 0);
}
