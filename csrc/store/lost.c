/* Commits that were acknowledged and are not in the file: its log was damaged, an older copy was
 * put in its place, or the disk had not written what it said. The mark in the folder knows of
 * them. What was in them is not known: every reader of a durable channel below the mark gets
 * a reset. Logs keep what they have, with a row at the mark that reads as a damaged one;
 * states and patterns, which have no rows, get a floor. [the thread of store_begin] */
#include "base/log.h"
#include "base/status.h"
#include "store/inner.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* A commit must not fail for it. */
void lost_mark(struct store *s) {
    int err = s->disk ? 0 : folder_mark(&s->folder, &s->head);
    if (err == 0 || s->mark_told) return;
    s->mark_told = true;
    log_printf(LOG_WARN,
               "store: %s/lock cannot be written: %s. What was answered is stored, but "
               "the next start does not notice whether the file has it still: %s, and "
               "the next commit writes it again",
               s->folder.path, status_text(err),
               err == -EIO ? "see the system's log" : "make room");
}

void lost_look(struct store *s, struct head *found) {
    struct head mark;
    if (s->disk || !folder_marked(&s->folder, &mark)) return;
    if (strcmp(mark.epoch, found->epoch) != 0 || mark.commits <= found->commits) return;
    log_printf(LOG_ERROR,
               "store: the last %" PRIu64
               " commits are not in %s: its log was damaged, or an older "
               "copy was put in its place; the readers of durable channels get a reset",
               mark.commits - found->commits, s->file);
    if (mark.last <= found->last) return;
    s->lost = found->last = mark.last;
}

/* Readers get a reset by its epoch. */
void lost_look_new(struct store *s) {
    struct head mark;
    if (s->disk || !folder_marked(&s->folder, &mark)) return;
    log_printf(LOG_ERROR,
               "store: %s is empty, and the folder held a store of %" PRIu64
               " commits: its file was emptied or removed. A new store begins, and all "
               "readers get a reset: to go back, stop and restore a backup",
               s->file, mark.commits);
}

/* A number is one row's: those of this run begin far above. */
static int report(struct store *s, struct record *r) {
    bool has_rows = record_has_events(r);
    if (!r->now.durable) return 0;
    record_touch(&s->records, r);
    int err = record_count(r, &s->db);
    if (err == 0 && has_rows) err = write_lost(s, r, ++s->lost);
    if (!has_rows) r->now.floor = r->now.last = s->lost;
    return err < 0 ? err : record_write(r, &s->db);
}

int lost_report(struct store *s) {
    int err = 0;
    if (s->lost == 0) return 0;
    for (uint32_t i = 0; err == 0 && i < s->records.n; i++)
        err = report(s, s->records.all[i]);
    return err;
}
