/* Strict parsing of a Last-Event-ID; see eventid.h. */
#include "fan/eventid.h"

#include "base/decimal.h"

static bool is_base32(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '2' && c <= '7');
}

static bool parse_seq(struct slice digits, uint64_t *out) {
    if (digits.n == 0 || digits.n > 19 || (digits.p[0] == '0' && digits.n > 1))
        return false;
    uint64_t n = 0;
    for (size_t i = 0; i < digits.n; i++) {
        if (digits.p[i] < '0' || digits.p[i] > '9') return false;
        n = n * 10 + (uint64_t)(digits.p[i] - '0');
    }
    *out = n;
    return true;
}

struct eventid eventid_parse(struct slice text) {
    struct eventid id = {.kind = EVENTID_NONE};
    if (text.n == 0) return id;
    if (slice_eq_lit(text, "stop")) {
        id.kind = EVENTID_STOP;
        return id;
    }
    id.kind = EVENTID_BAD;
    if (text.n < EPOCH_LENGTH + 2 || text.p[EPOCH_LENGTH] != '-') return id;
    for (int i = 0; i < EPOCH_LENGTH; i++)
        if (!is_base32(text.p[i])) return id;
    struct slice digits = slice_of(text.p + EPOCH_LENGTH + 1, text.n - EPOCH_LENGTH - 1);
    if (!parse_seq(digits, &id.seq)) return id;
    memcpy(id.epoch, text.p, EPOCH_LENGTH);
    id.kind = EVENTID_GOOD;
    return id;
}

size_t eventid_text(char out[EVENTID_TEXT_MAX], const char *epoch, uint64_t seq) {
    char digits[20], *end = digits + sizeof digits, *first = decimal_before(end, seq);
    size_t n = (size_t)(end - first);
    memcpy(out, epoch, EPOCH_LENGTH);
    out[EPOCH_LENGTH] = '-';
    memcpy(out + EPOCH_LENGTH + 1, first, n);
    return EPOCH_LENGTH + 1 + n;
}

struct eventid eventid_last(struct slice blocks) {
    for (size_t end = blocks.n; end > 0;) {
        const char *before = memrchr(blocks.p, '\n', end - 1);
        size_t begin = before ? (size_t)(before - blocks.p) + 1 : 0;
        struct slice line = slice_of(blocks.p + begin, end - begin - 1);
        if (line.n > 4 && memcmp(line.p, "id: ", 4) == 0)
            return eventid_parse(slice_of(line.p + 4, line.n - 4));
        end = begin;
    }
    return (struct eventid){.kind = EVENTID_NONE};
}
