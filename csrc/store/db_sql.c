/* The statements of the store, in the order of enum db_sql. No text is put together at run
 * time. */
#include "store/db.h"

#define EVENT_COLUMNS "seq, prev, at, expires, remove, name, key, data, crc"
#define NEWEST_COLUMNS \
    "c.name, n.seq, n.at, n.expires, n.name, n.key, n.data, n.crc, n.chan"

#define EVENT_ROW "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
#define FOUR_ROWS EVENT_ROW ", " EVENT_ROW ", " EVENT_ROW ", " EVENT_ROW
#define PLAIN_ROW "(?1, ?, ?, ?, 0, 0, ?, x'', ?, ?)"
#define FOUR_PLAIN_ROWS PLAIN_ROW ", " PLAIN_ROW ", " PLAIN_ROW ", " PLAIN_ROW
_Static_assert(DB_ROWS_AT_ONCE == 16, "as many as SQL_EVENTS_ADD adds");

const char *const db_texts[SQL_STATEMENTS] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_BEGIN_READ] = "BEGIN",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",

    [SQL_HEAD] = "SELECT epoch, last, commits, clean, crc FROM head WHERE id = 1",
    [SQL_HEAD_SET] = "INSERT OR REPLACE INTO head (id, epoch, last, commits, clean, crc) "
                     "VALUES (1, ?, ?, ?, ?, ?)",

    [SQL_CHANNELS] = "SELECT id, name, kind, durable, floor, events, bytes, counted, crc "
                     "FROM channels ORDER BY id",
    [SQL_CHANNEL_ADD] =
        "INSERT INTO channels (id, name, kind, durable, floor, events, bytes, counted, "
        "crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [SQL_CHANNEL_SET] =
        "UPDATE channels SET kind = ?, durable = ?, floor = ?, events = ?, "
        "bytes = ?, counted = ?, crc = ? WHERE id = ?",
    [SQL_CHANNEL_FLOOR] = "SELECT id, name, kind, durable, floor, events, bytes, "
                          "counted, crc FROM channels WHERE name = ?",
    [SQL_CHANNEL_LAST] = "SELECT max(seq) FROM events WHERE chan = ?",

    [SQL_EVENTS_NEWEST] = "SELECT min(seq) FROM (SELECT seq FROM events WHERE chan = ? "
                          "AND seq > ? AND seq <= ? ORDER BY seq DESC LIMIT ?)",
    [SQL_EVENTS_UPTO] = "SELECT max(seq) FROM events WHERE chan = ? AND seq <= ?",

    [SQL_EVENT_ADD] = "INSERT INTO events (chan, " EVENT_COLUMNS ") "
                      "VALUES " EVENT_ROW,
    /* An error ends the transaction: FAIL keeps no way back to before the statement. */
    [SQL_EVENTS_ADD] = "INSERT OR FAIL INTO events (chan, " EVENT_COLUMNS ") "
                       "VALUES " FOUR_ROWS ", " FOUR_ROWS ", " FOUR_ROWS ", " FOUR_ROWS,
    [SQL_EVENTS_ADD_PLAIN] =
        "INSERT OR FAIL INTO events (chan, " EVENT_COLUMNS ") VALUES " FOUR_PLAIN_ROWS
        ", " FOUR_PLAIN_ROWS ", " FOUR_PLAIN_ROWS ", " FOUR_PLAIN_ROWS,
    [SQL_EVENTS_OLDEST] =
        "SELECT seq, at, length(name) + length(key) + length(data) FROM events "
        "WHERE chan = ? AND seq > ? ORDER BY seq LIMIT ?",
    [SQL_EVENTS_DEAD] = "SELECT seq FROM events WHERE chan = ? AND seq <= ? "
                        "ORDER BY seq LIMIT ?",
    [SQL_EVENTS_ABOVE] = "SELECT " EVENT_COLUMNS " FROM events "
                         "WHERE chan = ? AND seq > ? ORDER BY seq",
    [SQL_EVENTS_RECENT] = "SELECT " EVENT_COLUMNS " FROM events "
                          "WHERE chan = ? AND seq > ? ORDER BY seq DESC LIMIT ?",
    [SQL_EVENT_DELETE] = "DELETE FROM events WHERE seq = ?",
    [SQL_EVENTS_COUNT] =
        "SELECT count(*), ifnull(sum(length(name) + length(key) + length(data)), 0) "
        "FROM events WHERE chan = ? AND seq > ?",

    [SQL_NEWEST_PUT] =
        "INSERT OR REPLACE INTO newest (chan, key, name, seq, at, expires, "
        "data, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    [SQL_NEWEST_HAS] = "SELECT 1 FROM newest WHERE chan = ? AND key = ? AND name = ?",
    [SQL_NEWEST_HAS_KEY] = "SELECT 1 FROM newest WHERE chan = ? AND key = ? LIMIT 1",
    [SQL_NEWEST_REMOVE] = "DELETE FROM newest WHERE chan = ? AND key = ?",
    [SQL_NEWEST_DELETE] = "DELETE FROM newest WHERE chan = ? AND key = ? AND name = ?",
    [SQL_NEWEST_OLDEST] =
        "SELECT key, name FROM newest WHERE chan = ? ORDER BY seq LIMIT 1",
    [SQL_NEWEST_CLEAR] = "DELETE FROM newest WHERE chan = ?",
    [SQL_NEWEST_COUNT] = "SELECT count(*) FROM newest WHERE chan = ?",
    [SQL_NEWEST_ALL] = "SELECT " NEWEST_COLUMNS " FROM newest n "
                       "JOIN channels c ON c.id = n.chan ORDER BY n.chan, n.seq",
    [SQL_NEWEST_OF] = "SELECT " NEWEST_COLUMNS " FROM newest n "
                      "JOIN channels c ON c.id = n.chan WHERE c.name = ? ORDER BY n.seq",

    [SQL_KEY_FIND] = "SELECT seq, at, crc FROM keys WHERE chan = ? AND key = ?",
    [SQL_KEY_PUT] = "INSERT OR REPLACE INTO keys (chan, key, seq, at, crc) "
                    "VALUES (?, ?, ?, ?, ?)",
    [SQL_KEYS_OLDEST] = "SELECT chan, key, at FROM keys ORDER BY at LIMIT ?",
    [SQL_KEY_DELETE] = "DELETE FROM keys WHERE chan = ? AND key = ?",

    [SQL_PAGE] = "SELECT " EVENT_COLUMNS " FROM events "
                 "WHERE chan = ? AND seq > ? AND seq <= ? ORDER BY seq",
    [SQL_KEY_OF] = "SELECT k.seq, k.at, k.crc, k.chan FROM keys k "
                   "JOIN channels c ON c.id = k.chan WHERE c.name = ? AND k.key = ?",

    [SQL_PAIR_PUT] = "INSERT OR REPLACE INTO pairs (store, key, value, crc) "
                     "VALUES (?, ?, ?, ?)",
    [SQL_PAIR_DELETE] = "DELETE FROM pairs WHERE store = ? AND key = ?",
    [SQL_PAIRS] = "SELECT store, key, value, crc FROM pairs ORDER BY store, key",
    [SQL_TASK_PUT] = "INSERT OR REPLACE INTO tasks (id, due, name, data, crc) "
                     "VALUES (?, ?, ?, ?, ?)",
    [SQL_TASK_DELETE] = "DELETE FROM tasks WHERE id = ?",
    [SQL_TASKS] = "SELECT id, due, name, data, crc FROM tasks ORDER BY due, id",

    [SQL_ALL_EVENTS] = "SELECT chan, " EVENT_COLUMNS " FROM events ORDER BY chan, seq",
    [SQL_ALL_KEYS] = "SELECT chan, key, seq, at, crc FROM keys ORDER BY chan, key",
    [SQL_DATA_VERSION] = "PRAGMA data_version",
    [SQL_CHECK] = "PRAGMA integrity_check(1)",
    [SQL_CHECK_ALL] = "PRAGMA integrity_check(20)",
    [SQL_PAGES] = "PRAGMA page_count",
};
