/* decode of sluice.json: a recursive descent over RFC 8259, strict but for what a text is
 * forgiven in UTF-8: bytes that are no character and halves of surrogate pairs become
 * U+FFFD, as in a browser.
 *
 * Whole numbers become integers: within 64 bits when they are written in digits alone, below
 * 2^53 as 1.0 or 1e3. Other numbers become the nearest double; what is beyond all doubles is
 * refused. Arrays get a metatable, so that
 * they are arrays when they are written again. */
#include "base/blank.h"
#include "base/bounds.h"
#include "base/number.h"
#include "base/utf8.h"
#include "bind/json.h"
#include "bind/json_text.h"

#include <lauxlib.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_MAX 160
#define TWO_TO_53 9007199254740992.0 /* below it, doubles hold every integer */

struct reader {
    lua_State *L;
    const char *start, *at, *end; /* a NUL is at the end */
    int depth, depth_max;
    char message[MESSAGE_MAX];
};

static int read_value(struct reader *r);

/* ---- What is wrong ------------------------------------------------------------------ */

static int fail(struct reader *r, const char *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int fail(struct reader *r, const char *at, const char *format, ...) {
    char problem[MESSAGE_MAX - 50];
    va_list args;
    va_start(args, format);
    vsnprintf(problem, sizeof problem, format, args);
    va_end(args);
    snprintf(r->message, sizeof r->message, "not JSON: %s at character %td", problem,
             at - r->start + 1);
    return -1;
}

static int expected(struct reader *r, const char *at, const char *what) {
    if (at == r->end) return fail(r, at, "Expected %s but found the end", what);
    if (*at > ' ' && *at < 0x7f)
        return fail(r, at, "Expected %s but found %c", what, *at);
    return fail(r, at, "Expected %s but found the byte 0x%02x", what, (unsigned char)*at);
}

/* ---- Numbers ------------------------------------------------------------------------ */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* The end of the digits at 'p', or NULL: there is none. */
static const char *skip_digits(struct reader *r, const char *p) {
    if (!is_digit(*p)) {
        expected(r, p, "a digit");
        return NULL;
    }
    while (is_digit(*p)) p++;
    return p;
}

/* The digits from 'p' to 'end' as an integer of 64 bits; false when they are none. */
static bool read_integer(const char *p, const char *end, bool negative,
                         lua_Integer *out) {
    uint64_t n = 0, limit = (uint64_t)INT64_MAX + negative;
    for (; p < end; p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (n > (limit - digit) / 10) return false;
        n = 10 * n + digit;
    }
    *out = (lua_Integer)(negative ? -n : n);
    return !(negative && n == 0); /* a double keeps the sign of -0 */
}

/* The number up to 'end'. Digits that follow belong to no number, and the message says so. */
static int push_double(struct reader *r, const char *end) {
    double number;
    number_read(r->at, &number);
    if (isinf(number)) return fail(r, r->at, "a number is too large");
    bool exact = fabs(number) < TWO_TO_53 && (double)(lua_Integer)number == number;
    if (exact && !(number == 0 && signbit(number)))
        lua_pushinteger(r->L, (lua_Integer)number);
    else lua_pushnumber(r->L, number);
    r->at = end;
    return 0;
}

static int read_number(struct reader *r) {
    bool negative = *r->at == '-', whole = true;
    const char *first = r->at + negative, *p = first;
    if (*p == '0') p++;
    else if (!(p = skip_digits(r, p))) return -1;
    if (*p == '.') {
        whole = false;
        if (!(p = skip_digits(r, p + 1))) return -1;
    }
    if (*p == 'e' || *p == 'E') {
        whole = false;
        p++;
        if (*p == '+' || *p == '-') p++;
        if (!(p = skip_digits(r, p))) return -1;
    }
    lua_Integer integer;
    if (!whole || !read_integer(first, p, negative, &integer)) return push_double(r, p);
    lua_pushinteger(r->L, integer);
    r->at = p;
    return 0;
}

/* ---- Strings ------------------------------------------------------------------------ */

/* The four hexadecimal digits at 'p', or -1. */
static int read_hex(const char *p) {
    int n = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        if (is_digit(c)) n = 16 * n + (c - '0');
        else if (c >= 'a' && c <= 'f') n = 16 * n + (c - 'a' + 10);
        else if (c >= 'A' && c <= 'F') n = 16 * n + (c - 'A' + 10);
        else return -1;
    }
    return n;
}

static void add_code(luaL_Buffer *b, uint32_t code) {
    char text[UTF8_MAX];
    luaL_addlstring(b, text, utf8_write(text, code));
}

/* What \uXXXX at 'p' stands for, with the other half behind it where it is a pair: adds it
 * and returns where it ends; NULL: it is no such escape. */
static const char *add_unit(luaL_Buffer *b, const char *p) {
    int code = read_hex(p + 2);
    if (code < 0) return NULL;
    p += 6;
    bool high = (code & 0xfc00) == 0xd800;
    int low = high && p[0] == '\\' && p[1] == 'u' ? read_hex(p + 2) : -1;
    if (low >= 0 && (low & 0xfc00) == 0xdc00) {
        code = 0x10000 + ((code & 0x3ff) << 10 | (low & 0x3ff));
        p += 6;
    } else if ((code & 0xf800) == 0xd800) {
        code = UTF8_REPLACEMENT;
    }
    add_code(b, (uint32_t)code);
    return p;
}

/* The escape at 'p': adds what it stands for and returns where it ends, or NULL. */
static const char *add_escape(struct reader *r, luaL_Buffer *b, const char *p) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *letter = p[1] ? strchr(from, p[1]) : NULL;
    const char *end = p + 2;
    if (letter) luaL_addchar(b, to[letter - from]);
    else end = p[1] == 'u' ? add_unit(b, p) : NULL;
    if (!end) expected(r, p, "an escape as \\n or \\u00e9");
    return end;
}

/* What a plain run ends at, but for the quote. */
static const char *add_odd(struct reader *r, luaL_Buffer *b, const char *p) {
    size_t left = (size_t)(r->end - p);
    if (*p == '\\') return add_escape(r, b, p);
    if (left == 0 || (unsigned char)*p < 0x20) {
        expected(r, p, "the rest of a string");
        return NULL;
    }
    size_t length = utf8_length((const unsigned char *)p, left);
    if (length > 0) {
        luaL_addlstring(b, p, length);
        return p + length;
    }
    add_code(b, UTF8_REPLACEMENT);
    return p + utf8_broken((const unsigned char *)p, left);
}

/* A string that is not only plain. */
static int read_mixed(struct reader *r, const char *p) {
    luaL_Buffer b;
    luaL_buffinit(r->L, &b);
    for (;;) {
        size_t run = json_plain_run(p, (size_t)(r->end - p));
        luaL_addlstring(&b, p, run);
        p += run;
        if (*p == '"') break;
        p = add_odd(r, &b, p);
        if (!p) return -1;
    }
    luaL_pushresult(&b);
    r->at = p + 1;
    return 0;
}

static int read_string(struct reader *r) {
    const char *p = r->at + 1;
    size_t run = json_plain_run(p, (size_t)(r->end - p));
    if (p[run] != '"') return read_mixed(r, p);
    lua_pushlstring(r->L, p, run);
    r->at = p + run + 1;
    return 0;
}

/* ---- Values ------------------------------------------------------------------------- */

/* The next byte that is no white space. */
static char next(struct reader *r) {
    while (blank_in_json(*r->at)) r->at++;
    return *r->at;
}

static int read_literal(struct reader *r, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0)
        return expected(r, r->at, "a value");
    if (*word == 'n') lua_pushlightuserdata(r->L, NULL); /* cjson.null */
    else lua_pushboolean(r->L, *word == 't');
    r->at += n;
    return 0;
}

static int read_array(struct reader *r) {
    lua_newtable(r->L);
    lua_pushvalue(r->L, lua_upvalueindex(1));
    lua_setmetatable(r->L, -2);
    r->at++;
    if (next(r) == ']') return 0;
    for (lua_Integer i = 1;; i++) {
        if (read_value(r) < 0) return -1;
        lua_rawseti(r->L, -2, i);
        char c = next(r);
        if (c == ']') return 0;
        if (c != ',') return expected(r, r->at, "a comma or ]");
        r->at++;
    }
}

static int read_object(struct reader *r) {
    lua_newtable(r->L);
    r->at++;
    if (next(r) == '}') return 0;
    for (;;) {
        if (next(r) != '"') return expected(r, r->at, "a name in quotes");
        if (read_string(r) < 0) return -1;
        if (next(r) != ':') return expected(r, r->at, "a colon");
        r->at++;
        if (read_value(r) < 0) return -1;
        lua_rawset(r->L, -3);
        char c = next(r);
        if (c == '}') return 0;
        if (c != ',') return expected(r, r->at, "a comma or }");
        r->at++;
    }
}

static int read_table(struct reader *r, bool is_array) {
    if (r->depth == r->depth_max)
        return fail(r, r->at, "nested deeper than %d levels", r->depth_max);
    luaL_checkstack(r->L, LUA_MINSTACK, "JSON is nested too deep");
    r->depth++;
    if ((is_array ? read_array(r) : read_object(r)) < 0) return -1;
    r->depth--;
    r->at++;
    return 0;
}

/* Push the next value. 0; or -1, and the message is there. */
static int read_value(struct reader *r) {
    char c = next(r);
    switch (c) {
    case '"': return read_string(r);
    case '{': return read_table(r, false);
    case '[': return read_table(r, true);
    case 't': return read_literal(r, "true");
    case 'f': return read_literal(r, "false");
    case 'n': return read_literal(r, "null");
    }
    return c == '-' || is_digit(c) ? read_number(r) : expected(r, r->at, "a value");
}

/* ---- decode ------------------------------------------------------------------------- */

static int refused(lua_State *L, const char *message, const char *code) {
    lua_pushnil(L);
    lua_pushstring(L, message);
    lua_pushstring(L, code);
    return 3;
}

/* decode(text[, max_depth]) -> value | nil, message, code */
static int l_decode(lua_State *L) {
    size_t n;
    const char *p = luaL_checklstring(L, 1, &n);
    lua_Integer depth = luaL_optinteger(L, 2, JSON_DEPTH_MAX);
    luaL_argcheck(L, depth >= 1 && depth <= JSON_DEPTH_MOST, 2, "1 to 1000 levels");
    struct reader r = {
        .L = L, .start = p, .at = p, .end = p + n, .depth_max = (int)depth};
    if (n > JSON_BYTES_MAX) {
        snprintf(r.message, sizeof r.message, "%zu bytes of JSON are more than %d", n,
                 JSON_BYTES_MAX);
        return refused(L, r.message, "ETOOBIG");
    }
    if (read_value(&r) < 0) return refused(L, r.message, "EJSON");
    next(&r);
    if (r.at == r.end) return 1;
    expected(&r, r.at, "the end");
    return refused(L, r.message, "EJSON");
}

void json_push_decode(lua_State *L) {
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, l_decode, 1);
}
