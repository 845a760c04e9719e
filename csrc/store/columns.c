/* The order of columns; see columns.h. */
#include "store/columns.h"

struct store_row columns_event(sqlite3_stmt *q, int first) {
    return (struct store_row){.seq = db_u64(q, first),
                              .at_ms = sqlite3_column_int64(q, first + 2),
                              .expires_ms = sqlite3_column_int64(q, first + 3),
                              .remove = sqlite3_column_int(q, first + 4) != 0,
                              .name = db_slice(q, first + 5),
                              .key = db_slice(q, first + 6),
                              .data = db_slice(q, first + 7)};
}

struct store_row columns_newest(sqlite3_stmt *q) {
    return (struct store_row){.seq = db_u64(q, 1),
                              .at_ms = sqlite3_column_int64(q, 2),
                              .expires_ms = sqlite3_column_int64(q, 3),
                              .name = db_slice(q, 4),
                              .key = db_slice(q, 5),
                              .data = db_slice(q, 6)};
}

enum columns_event columns_judge_event(int64_t chan, sqlite3_stmt *q, int first) {
    struct store_row row = columns_event(q, first);
    uint64_t prev = db_u64(q, first + 1);
    int64_t sum = sqlite3_column_int64(q, first + 8);
    if (sum == sum_event(chan, prev, &row)) return EVENT_SOUND;
    bool is_empty = row.name.n + row.key.n + row.data.n == 0;
    return is_empty && sum == sum_lost(chan, prev, &row) ? EVENT_LOST : EVENT_DAMAGED;
}

static bool head_is_sound(sqlite3_stmt *q) {
    return sum_head(db_slice(q, 0), db_u64(q, 1), db_u64(q, 2),
                    sqlite3_column_int(q, 3) != 0) == sqlite3_column_int64(q, 4);
}

static bool newest_is_sound(sqlite3_stmt *q) {
    struct store_row row = columns_newest(q);
    return sum_newest(sqlite3_column_int64(q, 8), &row) == sqlite3_column_int64(q, 7);
}

static bool key_is_sound(sqlite3_stmt *q) {
    return sum_key(sqlite3_column_int64(q, 0), db_slice(q, 1), db_u64(q, 2),
                   sqlite3_column_int64(q, 3)) == sqlite3_column_int64(q, 4);
}

static bool pair_is_sound(sqlite3_stmt *q) {
    struct store_pair p = {db_slice(q, 0), db_slice(q, 1), db_slice(q, 2)};
    return sum_pair(&p) == sqlite3_column_int64(q, 3);
}

static bool task_is_sound(sqlite3_stmt *q) {
    struct store_task t = {.id = db_slice(q, 0),
                           .due_ms = sqlite3_column_int64(q, 1),
                           .name = db_slice(q, 2),
                           .data = db_slice(q, 3)};
    return sum_task(&t) == sqlite3_column_int64(q, 4);
}

bool columns_is_sound(enum db_sql which, sqlite3_stmt *q) {
    if (which == SQL_HEAD) return head_is_sound(q);
    if (which == SQL_NEWEST_ALL) return newest_is_sound(q);
    if (which == SQL_ALL_KEYS) return key_is_sound(q);
    return which == SQL_PAIRS ? pair_is_sound(q) : task_is_sound(q);
}

struct sum_channel columns_channel(sqlite3_stmt *q) {
    return (struct sum_channel){.id = sqlite3_column_int64(q, 0),
                                .name = db_slice(q, 1),
                                .kind = (enum store_kind)sqlite3_column_int(q, 2),
                                .durable = sqlite3_column_int(q, 3) != 0,
                                .floor = db_u64(q, 4),
                                .events = db_u64(q, 5),
                                .bytes = db_u64(q, 6),
                                .counted = db_u64(q, 7)};
}
