/* A store from the text that export.c describes, in one transaction: all of it, or nothing.
 * Sums are made anew. [one thread] */
#include "base/bounds.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/status.h"
#include "store/disk.h"
#include "store/folder.h"
#include "store/record.h"
#include "store/schema.h"
#include "store/sum.h"
#include "store/tools.h"
#include "store/why.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIELDS_MAX 9
#define TEXT_MAX (64 * 1024 * 1024) /* of one field: a value of a key-value store */
#define PROGRESS_LINES 64

struct field {
    int64_t number;
    size_t at, n; /* of the line's bytes */
};

struct import {
    struct db db;
    FILE *file;
    struct buf bytes;
    char word[16];
    char types[FIELDS_MAX + 1];
    struct field fields[FIELDS_MAX];
    int n;
    uint32_t crc;
    uint64_t lines;
    bool ended, has_head, renew;
    char *name;           /* of the file, for messages */
    uint64_t done, total; /* bytes */
    struct records records;
};

/* ---- Lines ---------------------------------------------------------------------------- */

static int next(struct import *m) {
    int c = getc(m->file);
    if (c == EOF) return -1;
    char byte = (char)c;
    m->done++;
    m->crc = crc32c(m->crc, &byte, 1);
    return c;
}

static int read_word(struct import *m, int *c) {
    size_t n = 0;
    for (; *c >= 'a' && *c <= 'z' ? true : *c == '-'; *c = next(m)) {
        if (n + 1 >= sizeof m->word) return E_BADFIELD;
        m->word[n++] = (char)*c;
    }
    m->word[n] = 0;
    return n > 0 ? 0 : E_BADFIELD;
}

static int read_bytes(struct import *m, struct field *f) {
    if (f->number < 0 || f->number > TEXT_MAX) return E_BADFIELD;
    f->n = (size_t)f->number;
    f->at = m->bytes.n;
    int err = buf_reserve(&m->bytes, f->n);
    if (err < 0) return err;
    if (fread(m->bytes.p + f->at, 1, f->n, m->file) != f->n) return E_BADFIELD;
    m->crc = crc32c(m->crc, m->bytes.p + f->at, f->n);
    m->done += f->n;
    m->bytes.n += f->n;
    return 0;
}

static int read_field(struct import *m, int *c) {
    char digits[24];
    size_t n = 0;
    if (m->n >= FIELDS_MAX) return E_BADFIELD;
    struct field *f = &m->fields[m->n];
    for (; (*c >= '0' && *c <= '9') || (*c == '-' && n == 0); *c = next(m)) {
        if (n + 1 >= sizeof digits) return E_BADFIELD;
        digits[n++] = (char)*c;
    }
    digits[n] = 0;
    if (n == 0) return E_BADFIELD;
    f->number = strtoll(digits, NULL, 10);
    bool is_bytes = *c == ':';
    m->types[m->n++] = is_bytes ? 's' : 'i';
    m->types[m->n] = 0;
    if (!is_bytes) return 0;
    int err = read_bytes(m, f);
    *c = next(m);
    return err;
}

/* 1: a line; 0: the end; or an error. */
static int read_line(struct import *m) {
    m->n = 0;
    m->types[0] = 0;
    m->bytes.n = 0;
    int c = next(m);
    if (c < 0) return 0;
    int err = read_word(m, &c);
    while (err == 0 && c == ' ') {
        c = next(m);
        err = read_field(m, &c);
    }
    if (err == 0 && c != '\n') err = E_BADFIELD;
    m->lines++;
    return err < 0 ? err : 1;
}

static struct slice text(const struct import *m, int i) {
    return slice_of(m->bytes.p ? m->bytes.p + m->fields[i].at : "", m->fields[i].n);
}

static int64_t number(const struct import *m, int i) {
    return m->fields[i].number;
}

/* ---- Rows ----------------------------------------------------------------------------- */

/* Far above what the store that was exported may have given since then. */
static int take_head(struct import *m) {
    char fresh[STORE_EPOCH_LENGTH + 1];
    struct slice epoch = text(m, 0);
    uint64_t last = (uint64_t)number(m, 1);
    m->has_head = true;
    if (epoch.n != STORE_EPOCH_LENGTH) return E_BADFIELD;
    if (last > INT64_MAX - 2 * STORE_COPY_STEP) return E_FULL;
    last += STORE_COPY_STEP;
    if (m->renew) {
        rand_base32(fresh, STORE_EPOCH_LENGTH);
        epoch = slice_of(fresh, STORE_EPOCH_LENGTH);
    }
    return db_run(&m->db,
                  db_bind(&m->db, SQL_HEAD_SET, "siiii", epoch, (int64_t)last, (int64_t)1,
                          (int64_t)1, sum_head(epoch, last, 1, true)));
}

static int take_channel(struct import *m) {
    struct record *r = NULL;
    int64_t kind = number(m, 1);
    if (kind < STORE_LOG || kind > STORE_KEYED || record_find(&m->records, text(m, 0)))
        return E_BADFIELD;
    struct record_as as = {(enum store_kind)kind, number(m, 2) != 0,
                           (uint64_t)number(m, 3)};
    return record_add(&m->records, &m->db, text(m, 0), &as, &r);
}

static int add_event(struct import *m, struct record *r, uint64_t prev,
                     const struct store_row *row, int64_t sum) {
    if (row->seq > r->now.last) r->now.last = row->seq;
    if (row->seq > r->now.floor) {
        r->now.events++;
        r->now.bytes += row->name.n + row->key.n + row->data.n;
    }
    return db_run(&m->db,
                  db_bind(&m->db, SQL_EVENT_ADD, "iiiiiibbbi", r->id, (int64_t)row->seq,
                          (int64_t)prev, row->at_ms, row->expires_ms,
                          (int64_t)row->remove, row->name, row->key, row->data, sum));
}

static int take_event(struct import *m) {
    struct record *r = record_find(&m->records, text(m, 0));
    if (!r) return E_BADFIELD;
    struct store_row row = {.seq = (uint64_t)number(m, 1),
                            .at_ms = number(m, 3),
                            .expires_ms = number(m, 4),
                            .remove = number(m, 5) != 0,
                            .name = text(m, 6),
                            .key = text(m, 7),
                            .data = text(m, 8)};
    uint64_t prev = (uint64_t)number(m, 2);
    return add_event(m, r, prev, &row, sum_event(r->id, prev, &row));
}

/* It stands behind the newest of its channel, as those that were lost did. */
static int take_lost(struct import *m) {
    struct record *r = record_find(&m->records, text(m, 0));
    if (!r || (uint64_t)number(m, 1) <= r->now.last) return E_BADFIELD;
    struct slice none = slice_str("");
    struct store_row row = {.seq = (uint64_t)number(m, 1),
                            .at_ms = (int64_t)(clock_wall() * 1000),
                            .name = none,
                            .key = none,
                            .data = none};
    uint64_t prev = r->now.last;
    return add_event(m, r, prev, &row, sum_lost(r->id, prev, &row));
}

static int take_newest(struct import *m) {
    const struct record *r = record_find(&m->records, text(m, 0));
    if (!r) return E_BADFIELD;
    struct store_row row = {.seq = (uint64_t)number(m, 1),
                            .at_ms = number(m, 2),
                            .expires_ms = number(m, 3),
                            .name = text(m, 4),
                            .key = text(m, 5),
                            .data = text(m, 6)};
    return db_run(&m->db, db_bind(&m->db, SQL_NEWEST_PUT, "ibbiiibi", r->id, row.key,
                                  row.name, (int64_t)row.seq, row.at_ms, row.expires_ms,
                                  row.data, sum_newest(r->id, &row)));
}

static int take_key(struct import *m) {
    const struct record *r = record_find(&m->records, text(m, 0));
    if (!r) return E_BADFIELD;
    int64_t sum = sum_key(r->id, text(m, 1), (uint64_t)number(m, 2), number(m, 3));
    return db_run(&m->db, db_bind(&m->db, SQL_KEY_PUT, "ibiii", r->id, text(m, 1),
                                  number(m, 2), number(m, 3), sum));
}

static int take_pair(struct import *m) {
    struct store_pair p = {text(m, 0), text(m, 1), text(m, 2)};
    return db_run(&m->db, db_bind(&m->db, SQL_PAIR_PUT, "bbbi", p.store, p.key, p.value,
                                  sum_pair(&p)));
}

static int take_task(struct import *m) {
    struct store_task t = {
        .id = text(m, 0), .due_ms = number(m, 1), .name = text(m, 2), .data = text(m, 3)};
    return db_run(&m->db, db_bind(&m->db, SQL_TASK_PUT, "bibbi", t.id, t.due_ms, t.name,
                                  t.data, sum_task(&t)));
}

static int take_start(struct import *m) {
    return number(m, 0) == 1 && m->lines == 1 ? 0 : E_BADFIELD;
}

static int take_end(struct import *m) {
    m->ended = true;
    return number(m, 0) == (int64_t)m->lines - 1 ? 0 : E_BADFIELD;
}

static int take_line(struct import *m) {
    static const struct {
        const char *word, *types;
        int (*take)(struct import *m);
    } lines[] = {{"sluice-store", "i", take_start}, {"head", "si", take_head},
                 {"channel", "siii", take_channel}, {"event", "siiiiisss", take_event},
                 {"lost", "si", take_lost},         {"newest", "siiisss", take_newest},
                 {"key", "ssii", take_key},         {"pair", "sss", take_pair},
                 {"task", "siss", take_task},       {"end", "ii", take_end}};
    if (m->ended) return E_BADFIELD;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (strcmp(lines[i].word, m->word) == 0)
            return strcmp(lines[i].types, m->types) == 0 ? lines[i].take(m) : E_BADFIELD;
    return E_BADFIELD;
}

/* ---- The whole ------------------------------------------------------------------------ */

static int take_all(struct import *m, struct store_job *job) {
    uint32_t before = 0; /* the sum of all lines before this one */
    int err;
    while ((err = read_line(m)) > 0) {
        err = take_line(m);
        if (err == 0 && m->ended && number(m, 1) != (int64_t)before) err = E_DAMAGED;
        if (err == 0 && m->lines % PROGRESS_LINES == 0)
            err = store_job_go_on(job, m->done, m->total);
        if (err < 0) return err;
        before = m->crc;
    }
    for (uint32_t i = 0; err == 0 && i < m->records.n; i++)
        err = record_write(m->records.all[i], &m->db);
    return err == 0 && !(m->ended && m->has_head) ? E_DAMAGED : err;
}

static const char *says(const struct import *m, int err) {
    if (err == E_DAMAGED && m->db.rc == 0)
        return why_says("%s is not whole: it was cut, or changed. Nothing was imported",
                        m->name);
    if (err == E_BADFIELD)
        return why_says("%s, line %llu: not what an export writes. Nothing was imported",
                        m->name, (unsigned long long)m->lines);
    if (err == E_STORE && (m->db.rc & 0xff) == SQLITE_CONSTRAINT)
        return why_says(
            "%s, line %llu: the same row stands there before. Nothing was imported",
            m->name, (unsigned long long)m->lines);
    return why_says("%s cannot be imported: %s", m->name,
                    err == E_STORE || err == E_DAMAGED ? sqlite3_errstr(m->db.rc)
                                                       : status_text(err));
}

static int import(struct import *m, struct store_job *job) {
    bool is_new = false;
    int err = schema_prepare(&m->db, &is_new, &job->why);
    if (err < 0) return err;
    int64_t heads = 0; /* an import that was killed leaves tables without one */
    err = db_ask(&m->db, "SELECT count(*) FROM head", &heads);
    if (err == 0 && heads > 0) {
        job->why = "there is a store already: import into a new folder (--data)";
        return -EEXIST;
    }
    if (err == 0) err = db_run(&m->db, db_sql(&m->db, SQL_BEGIN));
    if (err == 0) err = take_all(m, job);
    if (err == 0) err = db_run(&m->db, db_sql(&m->db, SQL_COMMIT));
    if (err < 0) job->why = says(m, err);
    if (err < 0 && !sqlite3_get_autocommit(m->db.handle))
        db_run(&m->db, db_sql(&m->db, SQL_ROLLBACK));
    if (err == 0) err = db_checkpoint(&m->db, true);
    sqlite3_db_config(m->db.handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return err;
}

/* The place is locked. */
static int import_into(struct import *m, const struct store_place *where,
                       const struct folder *folder, struct store_job *job) {
    const char *file = where->disk ? FOLDER_FILE : folder->file;
    const char *vfs = where->disk ? disk_vfs(where->disk) : NULL;
    map_init(&m->records.by_name, record_key);
    int err = db_open(&m->db, file, vfs, DB_WRITE);
    if (err == 0) err = import(m, job);
    if (err < 0 && !job->why) job->why = says(m, err);
    db_close(&m->db);
    records_free(&m->records);
    return err;
}

/* The folder as it was before, when nothing came of it. */
static void undo(const struct folder *folder, bool was_there) {
    folder_clear(folder);
    if (!was_there) (void)rmdir(folder->path);
}

static int open_source(struct import *m, const char *path, struct store_job *job) {
    struct stat st;
    size_t n = path ? strlen(path) + 3 : sizeof "the standard input";
    m->name = mem_new(n);
    snprintf(m->name, n, path ? "'%s'" : "the standard input", path);
    m->file = path ? fopen(path, "re") : stdin;
    int err = m->file ? 0 : -errno;
    if (err == 0 && fstat(fileno(m->file), &st) == 0 && S_ISREG(st.st_mode))
        m->total = (uint64_t)st.st_size;
    if (err == 0 && S_ISDIR(st.st_mode)) err = -EISDIR;
    if (err < 0) job->why = says(m, err);
    return err;
}

int store_import(const struct store_place *where, const char *path, bool renew,
                 struct store_job *job) {
    struct folder folder = {.dir = -1, .lock = -1};
    struct import m = {.renew = renew};
    job->why = NULL;
    job->ended = false;
    int err = open_source(&m, path, job);
    bool had_folder = where->folder && access(where->folder, F_OK) == 0;
    bool had_store = where->folder && folder_has(where->folder);
    if (err == 0)
        err = where->disk ? disk_lock(where->disk)
                          : folder_open(&folder, where->folder, &job->why);
    if (err == 0) {
        err = import_into(&m, where, &folder, job);
        if (where->disk) {
            disk_unlock(where->disk);
        } else {
            if (err < 0 && !had_store) undo(&folder, had_folder);
            folder_close(&folder);
        }
    }
    if (job->ended) err = E_CLOSED;
    if (path && m.file) fclose(m.file);
    buf_free(&m.bytes);
    mem_free(m.name);
    return err;
}
