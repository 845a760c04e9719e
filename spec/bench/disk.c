/* What the disk and SQLite alone do, beside which durable publishes are measured:
 *
 *   disk --dir D --group G --events N     N rows in transactions of G: rows a second
 *   disk --dir D --syncs N                N times 4 KiB and fdatasync: each one's time
 *
 * The table, its index and the settings of the connection are those of Sluice's store; the
 * data is as long as that of the benchmark's events, and so are the numbers: a group leaves
 * as many free below itself, and checksums have four bytes. Nothing else is Sluice's. Both files have their size before the
 * clock starts: the log of a database is written again and again in place, and a file that
 * grows costs another write of its metadata. One line of JSON. */
#include <fcntl.h>
#include <getopt.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

#define SYNCS_MAX 100000u
#define SYNC_PAGES 256u
#define WARM_ROWS 6000u
#define FIRST (1ll << 33)
#define GAP (1ll << 24)

static const char SETUP[] =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -8192;"
    "CREATE TABLE events (seq INTEGER PRIMARY KEY, chan INTEGER NOT NULL, "
    "  prev INTEGER NOT NULL, at INTEGER NOT NULL, expires INTEGER NOT NULL, "
    "  remove INTEGER NOT NULL, name BLOB NOT NULL, key BLOB NOT NULL, "
    "  data BLOB NOT NULL, crc INTEGER NOT NULL);"
    "CREATE INDEX events_of_channel ON events (chan);";

struct disk {
    const char *dir;
    uint32_t group, events, syncs;
    uint64_t took_ns[SYNCS_MAX];
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void run(sqlite3 *db, const char *sql) {
    char *why = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &why) == SQLITE_OK) return;
    fprintf(stderr, "disk: %s\n", why);
    exit(1);
}

static int64_t number(const struct disk *d, uint32_t row) {
    return FIRST + (int64_t)(row / d->group) * GAP + row;
}

static void insert(const struct disk *d, sqlite3_stmt *add, uint32_t row,
                   const char *data) {
    sqlite3_bind_int64(add, 1, number(d, row));
    sqlite3_bind_int64(add, 2, (int64_t)(clock_ns() / 1000000));
    sqlite3_bind_blob(add, 3, data, (int)strlen(data), SQLITE_STATIC);
    sqlite3_bind_int64(add, 4, number(d, row - 1));
    sqlite3_bind_int64(add, 5, (int32_t)(row * 2654435761u));
    if (sqlite3_step(add) != SQLITE_DONE || sqlite3_reset(add) != SQLITE_OK)
        fail("disk: insert");
}

static double insert_all(const struct disk *d) {
    char path[4096], data[200];
    sqlite3 *db;
    sqlite3_stmt *add;
    snprintf(path, sizeof path, "%s/alone.db", d->dir);
    if (sqlite3_open(path, &db) != SQLITE_OK) fail(path);
    run(db, SETUP);
    const char *sql =
        "INSERT INTO events VALUES (?1, 1, ?4, ?2, 0, 0, 'tick', '', ?3, ?5)";
    if (sqlite3_prepare_v2(db, sql, -1, &add, NULL) != SQLITE_OK) fail(sql);
    memset(data, 'x', sizeof data - 1);
    data[sizeof data - 1 - 40] = 0;
    run(db, "BEGIN IMMEDIATE");
    for (uint32_t n = 0; n < WARM_ROWS; n++) insert(d, add, n + 1, data);
    run(db, "COMMIT; PRAGMA wal_checkpoint(RESTART)");
    const uint64_t began = clock_ns();
    for (uint32_t n = 0; n < d->events; n++) {
        if (n % d->group == 0) run(db, "BEGIN IMMEDIATE");
        insert(d, add, WARM_ROWS + n + 1, data);
        if ((n + 1) % d->group == 0 || n + 1 == d->events) run(db, "COMMIT");
    }
    const double seconds = (double)(clock_ns() - began) / 1e9;
    sqlite3_finalize(add);
    sqlite3_close(db);
    return seconds;
}

static int by_size(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void sync_all(struct disk *d) {
    static char page[4096];
    char path[4096];
    snprintf(path, sizeof path, "%s/syncs", d->dir);
    const int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    if (fd < 0) fail(path);
    for (uint32_t i = 0; i < SYNC_PAGES; i++)
        if (pwrite(fd, page, sizeof page, (off_t)i * 4096) != sizeof page) fail(path);
    if (fdatasync(fd) != 0) fail(path);
    for (uint32_t i = 0; i < d->syncs; i++) {
        const off_t at = (off_t)(i % SYNC_PAGES) * 4096;
        const uint64_t began = clock_ns();
        if (pwrite(fd, page, sizeof page, at) != sizeof page) fail(path);
        if (fdatasync(fd) != 0) fail(path);
        d->took_ns[i] = clock_ns() - began;
    }
    close(fd);
    unlink(path);
    qsort(d->took_ns, d->syncs, sizeof *d->took_ns, by_size);
}

static const struct option OPTIONS[] = {{"dir", 1, 0, 'd'},
                                        {"group", 1, 0, 'g'},
                                        {"events", 1, 0, 'n'},
                                        {"syncs", 1, 0, 's'},
                                        {0, 0, 0, 0}};

int main(int argc, char **argv) {
    static struct disk d = {.dir = ".", .group = 1};
    int which;
    while ((which = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
        const uint32_t number = optarg ? (uint32_t)strtoul(optarg, NULL, 10) : 0;
        switch (which) {
        case 'd': d.dir = optarg; break;
        case 'g': d.group = number; break;
        case 'n': d.events = number; break;
        case 's': d.syncs = number; break;
        default: return 2;
        }
    }
    if (d.group == 0 || d.syncs > SYNCS_MAX || (!d.events && !d.syncs)) {
        fputs("disk: --dir D and --group G --events N, or --syncs N (100,000)\n", stderr);
        return 2;
    }
    const double seconds = d.events ? insert_all(&d) : 0;
    if (d.syncs) sync_all(&d);
    printf("{\"rate\":%.1f,\"p50\":%.1f,\"p99\":%.1f}\n",
           d.events ? (double)d.events / seconds : 0.0,
           d.syncs ? (double)d.took_ns[d.syncs / 2] / 1e3 : 0.0,
           d.syncs ? (double)d.took_ns[d.syncs * 99ull / 100] / 1e3 : 0.0);
    return 0;
}
