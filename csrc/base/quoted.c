/* Two passes: whether it must be quoted, and the text; see quoted.h. */
#include "base/quoted.h"

#include "base/blank.h"

#include <string.h>

#define LINE_MAX_BYTES 76

/* Cut off the first line. False: there is none. What ends the last line begins no other. */
static bool next_line(struct slice *rest, struct slice *line) {
    if (rest->n == 0) return false;
    size_t n = 0, end;
    while (n < rest->n && rest->p[n] != '\n' && rest->p[n] != '\r') n++;
    end = n;
    if (end < rest->n && rest->p[end++] == '\r' && end < rest->n && rest->p[end] == '\n')
        end++;
    *line = slice_of(rest->p, n);
    *rest = slice_of(rest->p + end, rest->n - end);
    return true;
}

static bool is_plain_line(struct slice line) {
    if (line.n > LINE_MAX_BYTES || (line.n > 0 && blank_in_line(line.p[line.n - 1])))
        return false;
    for (size_t i = 0; i < line.n; i++)
        if ((line.p[i] < ' ' && line.p[i] != '\t') || line.p[i] >= 0x7f) return false;
    return true;
}

static bool is_plain(struct slice text) {
    for (struct slice line; next_line(&text, &line);)
        if (!is_plain_line(line)) return false;
    return true;
}

/* Room is there. Returns the end. */
static char *quote_line(char *out, struct slice line) {
    static const char hex[] = "0123456789ABCDEF";
    size_t width = 0;
    for (size_t i = 0; i < line.n; i++) {
        unsigned char c = (unsigned char)line.p[i];
        bool bare = (c > ' ' && c < 0x7f && c != '=') ||
                    (blank_in_line((char)c) && i + 1 < line.n);
        size_t n = bare ? 1 : 3;
        if (width + n > LINE_MAX_BYTES - 1) {
            *out++ = '=';
            *out++ = '\r';
            *out++ = '\n';
            width = 0;
        }
        if (!bare) {
            *out++ = '=';
            *out++ = hex[c >> 4];
        }
        *out++ = bare ? (char)c : hex[c & 15];
        width += n;
    }
    return out;
}

/* Three bytes for one, and a soft break (three more) for at least 72 of them. */
static size_t room_of(struct slice line, bool plain) {
    return plain ? line.n + 2 : 3 * line.n + 3 * (3 * line.n / 72 + 1) + 2;
}

static int write_line(struct buf *out, struct slice line, bool plain) {
    int err = buf_reserve(out, room_of(line, plain));
    if (err < 0) return err;
    char *p = out->p + out->n;
    if (!plain) p = quote_line(p, line);
    else if (line.n > 0) p = (char *)memcpy(p, line.p, line.n) + line.n;
    *p++ = '\r';
    *p++ = '\n';
    out->n = (size_t)(p - out->p);
    return 0;
}

int quoted_write(struct buf *out, struct slice text, bool *plain) {
    struct slice line = {0};
    *plain = is_plain(text);
    int err = text.n == 0 ? write_line(out, line, true) : 0;
    while (err == 0 && next_line(&text, &line)) err = write_line(out, line, *plain);
    return err;
}
