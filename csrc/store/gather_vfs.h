/* A VFS in front of another one, which writes at once what lies one behind the other: the pages
 * that a commit adds to SQLite's log, and those that a checkpoint copies into the file.
 *
 *      SQLite        header page header page … header page of the commit
 *      this VFS      ───────── gathered, up to GATHER_MAX ──────────▶ one write
 *
 * SQLite writes each page with a call or two. All is written before anybody can see or sync it;
 * what is still gathered when a process dies was not committed, or is in the log.
 * [any thread, as the base] */
#ifndef SLUICE_STORE_GATHER_VFS_H
#define SLUICE_STORE_GATHER_VFS_H

#include <sqlite3.h>

struct gather_vfs {
    sqlite3_vfs vfs; /* first: SQLite has its address */
    sqlite3_vfs *base;
    char name[32]; /* that sqlite3_open_v2 knows it by; empty: it is not registered */
};

/* Register it, in front of 'base', or of the one for real files (NULL). Borrows both, until: */
void gather_vfs_begin(struct gather_vfs *v, sqlite3_vfs *base);
void gather_vfs_end(struct gather_vfs *v); /* also of one that has not begun */

#endif
