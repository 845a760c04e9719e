/* Rows as the statements of db_sql.c give them. [one thread at a time] */
#ifndef SLUICE_STORE_COLUMNS_H
#define SLUICE_STORE_COLUMNS_H

#include "store/db.h"
#include "store/read.h"
#include "store/sum.h"

/* An event: seq, prev, at, expires, remove, name, key, data; its seq is in column 'first'.
 * Slices are borrowed until the next row. */
struct store_row columns_event(sqlite3_stmt *q, int first);

/* A newest value, of SQL_NEWEST_ALL and SQL_NEWEST_OF. */
struct store_row columns_newest(sqlite3_stmt *q);

/* What an event is, as a row of this channel; its seq is in column 'first'. */
enum columns_event {
    EVENT_SOUND,
    EVENT_LOST, /* in place of events that are lost (lost.c) */
    EVENT_DAMAGED
};
enum columns_event columns_judge_event(int64_t chan, sqlite3_stmt *q, int first);

/* Whether a row of SQL_HEAD, SQL_NEWEST_ALL, SQL_ALL_KEYS, SQL_PAIRS or SQL_TASKS is what was
 * written. */
bool columns_is_sound(enum db_sql which, sqlite3_stmt *q);

/* A row of 'channels', from column 0. Its name is borrowed until the next row. */
struct sum_channel columns_channel(sqlite3_stmt *q);

#endif
