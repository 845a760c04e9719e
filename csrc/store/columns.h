/* Rows as the statements of db_sql.c give them. [one thread at a time] */
#ifndef SLUICE_STORE_COLUMNS_H
#define SLUICE_STORE_COLUMNS_H

#include "store/read.h"
#include "store/sum.h"

#include <sqlite3.h>

/* An event: seq, prev, at, expires, remove, name, key, data; its seq is in column 'first'.
 * Slices are borrowed until the next row. */
struct store_row columns_event(sqlite3_stmt *q, int first);

/* A row of 'channels', from column 0. Its name is borrowed until the next row. */
struct sum_channel columns_channel(sqlite3_stmt *q);

#endif
