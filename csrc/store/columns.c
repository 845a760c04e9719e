/* The order of columns; see columns.h. */
#include "store/columns.h"

#include "store/db.h"

struct store_row columns_event(sqlite3_stmt *q, int first) {
    return (struct store_row){.seq = db_u64(q, first),
                              .at_ms = sqlite3_column_int64(q, first + 2),
                              .expires_ms = sqlite3_column_int64(q, first + 3),
                              .remove = sqlite3_column_int(q, first + 4) != 0,
                              .name = db_slice(q, first + 5),
                              .key = db_slice(q, first + 6),
                              .data = db_slice(q, first + 7)};
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
