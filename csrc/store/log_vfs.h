/* A VFS in front of another one, which writes what a commit adds to SQLite's log at once.
 *
 *      SQLite        header page header page … header page of the commit
 *      this VFS      ───────── gathered, up to LOG_WRITE_MAX ─────────▶ one write
 *
 * SQLite writes each page with two calls, and asks nothing of them before its commit. All is
 * written before anybody can see or sync it; of what was gathered when a process dies, nothing
 * was committed. Other files are the base's own. [any thread, as the base] */
#ifndef SLUICE_STORE_LOG_VFS_H
#define SLUICE_STORE_LOG_VFS_H

#include <sqlite3.h>

struct log_vfs {
    sqlite3_vfs vfs; /* first: SQLite has its address */
    sqlite3_vfs *base;
    char name[32]; /* that sqlite3_open_v2 knows it by; empty: it is not registered */
};

/* Register it, in front of 'base', or of the one for real files (NULL). Borrows both, until: */
void log_vfs_begin(struct log_vfs *v, sqlite3_vfs *base);
void log_vfs_end(struct log_vfs *v); /* also of one that has not begun */

#endif
