/* Keeping fields and finding them; see notes.h. Nothing is aligned: all is copied out. */
#include "base/notes.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/log_fields.h"
#include "base/mem.h"

#include <string.h>

struct head {
    const char *what;
    double time;
    uint32_t bytes, n_fields; /* with what follows */
};

/* Behind it lie the bytes of a text, or eight of a number. */
struct field {
    const char *name;
    uint32_t n;
    enum { TEXT, INTEGER, NUMBER } kind;
};

void notes_init(struct notes *notes, size_t size) {
    *notes = (struct notes){.room = mem_new(size), .size = size};
}

void notes_deinit(struct notes *notes) {
    mem_free(notes->room);
    notes->room = NULL;
}

/* ---- Adding ------------------------------------------------------------------------- */

static struct field field_of(const struct log_field *f) {
    if (f->text)
        return (struct field){f->name,
                              (uint32_t)(f->text_n ? f->text_n : strlen(f->text)), TEXT};
    return (struct field){f->name, 8, f->is_integer ? INTEGER : NUMBER};
}

static struct head head_at(const struct notes *notes, size_t at) {
    struct head h;
    memcpy(&h, notes->room + at, sizeof h);
    return h;
}

/* Drop the oldest until so many bytes are left at most. */
static void shrink(struct notes *notes, size_t most) {
    size_t at = 0;
    while (notes->n - at > most) at += head_at(notes, at).bytes;
    notes->lost_some = true;
    notes->n -= at;
    memmove(notes->room, notes->room + at, notes->n);
}

static char *put(char *at, const void *from, size_t n) {
    memcpy(at, from, n);
    return at + n;
}

void notes_add(struct notes *notes, const char *what, const struct log_field *fields,
               size_t n) {
    struct field kept[LOG_FIELDS_MAX];
    struct head head = {what, clock_wall(), sizeof head, (uint32_t)n};
    assert(n <= LOG_FIELDS_MAX);
    for (size_t i = 0; i < n; i++) {
        kept[i] = field_of(&fields[i]);
        head.bytes += (uint32_t)sizeof *kept + kept[i].n;
    }
    if (head.bytes > notes->size) return;
    size_t room = notes->size - head.bytes;
    if (notes->n > room) shrink(notes, room < notes->size / 2 ? room : notes->size / 2);
    char *at = put(notes->room + notes->n, &head, sizeof head);
    for (size_t i = 0; i < n; i++) {
        const struct log_field *f = &fields[i];
        at = put(at, &kept[i], sizeof *kept);
        if (kept[i].kind == TEXT) at = put(at, f->text, kept[i].n);
        else if (kept[i].kind == INTEGER) at = put(at, &f->integer, 8);
        else at = put(at, &f->number, 8);
    }
    notes->n += head.bytes;
}

/* ---- Looking ------------------------------------------------------------------------ */

/* The field at 'at'; what follows it. */
static const char *read_field(const char *at, struct log_field *out) {
    struct field f;
    memcpy(&f, at, sizeof f);
    at += sizeof f;
    *out = (struct log_field){.name = f.name, .is_integer = f.kind == INTEGER};
    if (f.kind == INTEGER) memcpy(&out->integer, at, 8);
    else if (f.kind == NUMBER) memcpy(&out->number, at, 8);
    else {
        out->text = f.n > 0 ? at : "";
        out->text_n = f.n;
    }
    return at + f.n;
}

static bool is_wanted(const struct log_field *f, const struct notes_wanted *wanted) {
    return f->text && slice_eq(slice_of(f->text, f->text_n), wanted->value) &&
           (wanted->name.n == 0 || slice_eq(slice_str(f->name), wanted->name));
}

/* The fields of the note at 'at'; whether it is wanted. */
static bool read_note(const struct notes *notes, size_t at,
                      const struct notes_wanted *wanted, struct log_fields *out) {
    const char *p = notes->room + at + sizeof(struct head);
    bool found = false;
    out->n = head_at(notes, at).n_fields;
    for (size_t i = 0; i < out->n; i++) {
        p = read_field(p, &out->all[i]);
        found = found || is_wanted(&out->all[i], wanted);
    }
    return found;
}

static int add_line(struct buf *out, const struct head *head,
                    const struct log_fields *f) {
    struct log_message m = {.level = LOG_INFO,
                            .text = slice_str(head->what),
                            .fields = f->all,
                            .n = f->n,
                            .time = head->time};
    return log_line_add(out, (struct log_form){.json = true}, &m);
}

int notes_find(const struct notes *notes, const struct notes_wanted *wanted,
               uint32_t most, struct buf *out) {
    struct log_fields f;
    struct head head;
    uint32_t n = 0, i = 0;
    int err = 0;
    for (size_t at = 0; at < notes->n; at += head_at(notes, at).bytes)
        n += read_note(notes, at, wanted, &f);
    for (size_t at = 0; err == 0 && at < notes->n; at += head.bytes) {
        head = head_at(notes, at);
        if (!read_note(notes, at, wanted, &f)) continue;
        if (n - i++ <= most) err = add_line(out, &head, &f);
    }
    return err;
}

double notes_since(const struct notes *notes) {
    return notes->lost_some && notes->n > 0 ? head_at(notes, 0).time : 0;
}
