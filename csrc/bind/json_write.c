/* encode of sluice.json: a walk over a value that appends to one buffer.
 *
 * Metatables are not asked (but those of arrays, for what they say of empty ones and of
 * gaps), so no Lua code runs on the way and the buffer can be the same for all calls: a
 * few KiB in a userdata, more from the heap where a text is larger, until the next call at
 * the latest. A table is an array when all its keys are positive integers that fit an int;
 * gaps in it are a mistake. What cannot be written ends the walk with a message that names
 * the place. */
#include "base/bounds.h"
#include "base/mem.h"
#include "base/number.h"
#include "base/utf8.h"
#include "bind/json.h"
#include "bind/json_text.h"

#include <lauxlib.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define BUFFER_BYTES 4096 /* most events fit */
#define SLACK 64          /* reserved in advance, and not always used */
#define ESCAPE_MAX 6      /* \u001f */
#define PLACE_MAX 200     /* bytes of a place in a message */
#define KEY_SHOWN_MAX 40  /* of a key that is no name */
#define MESSAGE_MAX 400

/* A table that is being written. */
struct level {
    const void *table;
    int key;           /* where its key stands on the stack; 0: */
    lua_Integer index; /* ... it is an array, and this is the item */
};

struct writer {
    lua_State *L;
    char *p; /* 'own', or owned and counted */
    size_t n, cap;
    int depth;
    struct level levels[JSON_DEPTH_MAX];
    const char *code; /* of what is wrong */
    char message[MESSAGE_MAX];
    char own[BUFFER_BYTES];
};

static int write_value(struct writer *w);

/* ---- The buffer --------------------------------------------------------------------- */

static void empty(struct writer *w) {
    if (w->p != w->own) mem_free(w->p);
    w->p = w->own;
    w->n = 0;
    w->cap = sizeof w->own;
}

/* A message about all of the value, not about a place in it. */
static int refuse_all(struct writer *w, const char *code, const char *message) {
    w->code = code;
    snprintf(w->message, sizeof w->message, "%s", message);
    return -1;
}

static int refuse_size(struct writer *w) {
    char text[80];
    snprintf(text, sizeof text, "data makes more than %d bytes of JSON", JSON_BYTES_MAX);
    return refuse_all(w, "ETOOBIG", text);
}

static int grow(struct writer *w, size_t n) {
    const size_t most = JSON_BYTES_MAX + SLACK;
    if (n > most - w->n) return refuse_size(w);
    size_t cap = 2 * w->cap > w->n + n ? 2 * w->cap : w->n + n;
    if (cap > most) cap = most;
    char *p = mem_try(cap);
    if (!p) return refuse_all(w, "ENOMEM", "out of memory");
    memcpy(p, w->p, w->n);
    if (w->p != w->own) mem_free(w->p);
    w->p = p;
    w->cap = cap;
    return 0;
}

/* Make room for n more bytes. 0 or -1. */
static inline int room(struct writer *w, size_t n) {
    return n <= w->cap - w->n ? 0 : grow(w, n);
}

static int put(struct writer *w, const char *p, size_t n) {
    if (room(w, n) < 0) return -1;
    memcpy(w->p + w->n, p, n);
    w->n += n;
    return 0;
}

static inline int put_char(struct writer *w, char c) {
    if (room(w, 1) < 0) return -1;
    w->p[w->n++] = c;
    return 0;
}

/* ---- Places ------------------------------------------------------------------------- */

static bool is_name(const char *p, size_t n) {
    for (size_t i = 0; i < n; i++) {
        bool letter = (p[i] >= 'a' && p[i] <= 'z') || (p[i] >= 'A' && p[i] <= 'Z');
        bool digit = p[i] >= '0' && p[i] <= '9';
        if (!letter && p[i] != '_' && !(digit && i > 0)) return false;
    }
    return n > 0;
}

/* .name or ["any text"] */
static size_t show_string(char *out, const char *p, size_t n) {
    if (is_name(p, n))
        return (size_t)snprintf(out, PLACE_MAX, ".%.*s",
                                n < PLACE_MAX ? (int)n : PLACE_MAX, p);
    char shown[KEY_SHOWN_MAX + 1];
    size_t length = n < KEY_SHOWN_MAX ? n : KEY_SHOWN_MAX;
    for (size_t i = 0; i < length; i++)
        shown[i] = p[i] >= 0x20 && p[i] < 0x7f ? p[i] : '?';
    shown[length] = '\0';
    return (size_t)snprintf(out, PLACE_MAX, "[\"%s\"]", shown);
}

/* Room for PLACE_MAX bytes; returns the length that it should have. */
static size_t show_key(struct writer *w, const struct level *level, char *out) {
    char number[NUMBER_TEXT_MAX];
    if (level->key && lua_type(w->L, level->key) == LUA_TSTRING) {
        size_t n;
        const char *p = lua_tolstring(w->L, level->key, &n);
        return show_string(out, p, n);
    }
    if (level->key && !lua_isinteger(w->L, level->key))
        number_text(number, lua_tonumber(w->L, level->key));
    else
        number_text_integer(number,
                            level->key ? lua_tointeger(w->L, level->key) : level->index);
    return (size_t)snprintf(out, PLACE_MAX, "[%s]", number);
}

/* Where the walk is, as data.items[3]. */
static void show_place(struct writer *w, char out[PLACE_MAX + sizeof "…"]) {
    char key[PLACE_MAX];
    size_t n = (size_t)snprintf(out, PLACE_MAX, "data");
    for (int i = 0; i < w->depth && n <= PLACE_MAX; i++) {
        size_t more = show_key(w, &w->levels[i], key);
        size_t there = more < PLACE_MAX - 1 ? more : PLACE_MAX - 1;
        memcpy(out + n, key, there < PLACE_MAX - n ? there : PLACE_MAX - n);
        n += more;
    }
    snprintf(out + (n < PLACE_MAX ? n : PLACE_MAX), sizeof "…", "%s",
             n > PLACE_MAX ? "…" : "");
}

static int refuse(struct writer *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static int refuse(struct writer *w, const char *format, ...) {
    char place[PLACE_MAX + sizeof "…"], problem[MESSAGE_MAX - sizeof place - 1];
    va_list args;
    va_start(args, format);
    vsnprintf(problem, sizeof problem, format, args);
    va_end(args);
    show_place(w, place);
    w->code = "EJSON";
    snprintf(w->message, sizeof w->message, "%s %s", place, problem);
    return -1;
}

/* ---- Text and numbers --------------------------------------------------------------- */

static size_t write_escape(char *out, unsigned code) {
    static const char hex[] = "0123456789abcdef";
    out[0] = '\\';
    out[1] = 'u';
    for (int i = 0; i < 4; i++) out[2 + i] = hex[code >> (12 - 4 * i) & 15];
    return 6;
}

static size_t write_ascii(char *out, char c) {
    static const char letters[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (const char *l = letters; *l; l += 2) {
        if (*l != c) continue;
        out[0] = '\\';
        out[1] = l[1];
        return 2;
    }
    return write_escape(out, (unsigned char)c);
}

/* The code point of a separator. */
static unsigned separator(const char *p, size_t length) {
    return length == 2 ? 0x85 : 0x2000 | ((unsigned char)p[2] & 0x3f);
}

/* Write one character that json_plain_run stops at, ESCAPE_MAX bytes at most; returns how
 * many bytes it has in the value. */
static size_t write_odd(struct writer *w, const char *p, size_t n) {
    char *out = w->p + w->n;
    size_t length = utf8_length((const unsigned char *)p, n);
    if (length == 1) {
        w->n += write_ascii(out, *p);
    } else if (length > 1) {
        w->n += write_escape(out, separator(p, length));
    } else {
        w->n += utf8_write(out, UTF8_REPLACEMENT);
        return utf8_broken((const unsigned char *)p, n);
    }
    return length;
}

/* The string at 'index', quoted. */
static int write_string(struct writer *w, int index) {
    size_t n;
    const char *p = lua_tolstring(w->L, index, &n);
    if (room(w, n + 2) < 0) return -1;
    w->p[w->n++] = '"';
    for (;;) {
        size_t run = json_plain_run(p, n);
        memcpy(w->p + w->n, p, run);
        w->n += run;
        p += run;
        n -= run;
        if (n == 0) break;
        if (room(w, n + ESCAPE_MAX + 1) < 0) return -1;
        size_t length = write_odd(w, p, n);
        p += length;
        n -= length;
    }
    w->p[w->n++] = '"';
    return 0;
}

static int write_number(struct writer *w, int index) {
    if (room(w, NUMBER_TEXT_MAX) < 0) return -1;
    char *out = w->p + w->n;
    if (lua_isinteger(w->L, index)) {
        w->n += number_text_integer(out, lua_tointeger(w->L, index));
        return 0;
    }
    double number = lua_tonumber(w->L, index);
    if (isnan(number)) return refuse(w, "is NaN: JSON has no such number");
    if (isinf(number)) return refuse(w, "is infinite: JSON has no such number");
    w->n += number_text(out, number);
    return 0;
}

/* ---- Tables ------------------------------------------------------------------------- */

static bool is_marked(lua_State *L) {
    if (!lua_getmetatable(L, -1)) return false;
    bool marked = lua_rawequal(L, -1, lua_upvalueindex(2)) ||
                  lua_rawequal(L, -1, lua_upvalueindex(3));
    lua_pop(L, 1);
    return marked;
}

/* Whether the table on top is an array, and its length; -1: it has gaps. */
static int find_length(struct writer *w, lua_Integer *length) {
    lua_State *L = w->L;
    bool marked = is_marked(L);
    lua_Integer items = 0, last = 0;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pop(L, 1);
        lua_Integer key = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
        if (key < 1) {
            lua_pop(L, 1);
            return false;
        }
        if (key > last) last = key;
        items++;
    }
    *length = last;
    if (marked) return true;
    if (items == 0 || last > INT_MAX) return false;
    if (last == items) return true;
    return refuse(w,
                  "has gaps (%lld items, the last has number %lld): use string keys, or "
                  "sluice.json.array",
                  (long long)items, (long long)last);
}

static int write_array(struct writer *w, lua_Integer length) {
    lua_State *L = w->L;
    struct level *level = &w->levels[w->depth - 1];
    if (length > JSON_BYTES_MAX / 2) return refuse_size(w);
    if (put_char(w, '[') < 0) return -1;
    for (lua_Integer i = 1; i <= length; i++) {
        if (i > 1 && put_char(w, ',') < 0) return -1;
        level->index = i;
        lua_rawgeti(L, -1, i);
        if (write_value(w) < 0) return -1;
        lua_pop(L, 1);
    }
    return put_char(w, ']');
}

/* The key below the top. */
static int write_key(struct writer *w) {
    lua_State *L = w->L;
    int type = lua_type(L, -2);
    if (type == LUA_TSTRING) return write_string(w, -2);
    if (type == LUA_TNUMBER)
        return put_char(w, '"') < 0 || write_number(w, -2) < 0 ? -1 : put_char(w, '"');
    w->depth--; /* the message is about the table */
    return refuse(w, "has a key of type %s: JSON has string keys only",
                  lua_typename(L, type));
}

static int write_object(struct writer *w) {
    lua_State *L = w->L;
    char before = '{';
    lua_pushnil(L);
    w->levels[w->depth - 1].key = lua_gettop(L);
    while (lua_next(L, -2)) {
        if (put_char(w, before) < 0 || write_key(w) < 0 || put_char(w, ':') < 0)
            return -1;
        if (write_value(w) < 0) return -1;
        before = ',';
        lua_pop(L, 1);
    }
    return before == '{' ? put(w, "{}", 2) : put_char(w, '}');
}

static int write_table(struct writer *w) {
    lua_State *L = w->L;
    const void *table = lua_topointer(L, -1);
    for (int i = 0; i < w->depth; i++)
        if (w->levels[i].table == table) return refuse(w, "is a table that holds itself");
    if (w->depth == JSON_DEPTH_MAX)
        return refuse(w, "is nested deeper than %d levels", JSON_DEPTH_MAX);
    if (!lua_checkstack(L, 4)) return refuse_all(w, "ENOMEM", "out of memory");
    lua_Integer length;
    int is_array = find_length(w, &length);
    if (is_array < 0) return -1;
    w->levels[w->depth++] = (struct level){.table = table};
    int err = is_array ? write_array(w, length) : write_object(w);
    if (err < 0) return -1;
    w->depth--;
    return 0;
}

/* A light userdata: lua-cjson has one for null, and may have one for an empty array. */
static int write_constant(struct writer *w) {
    if (lua_touserdata(w->L, -1) == NULL) return put(w, "null", 4);
    if (lua_rawequal(w->L, -1, lua_upvalueindex(4))) return put(w, "[]", 2);
    return refuse(w, "is a userdata: JSON cannot carry it");
}

/* The value on top of the stack, where it stays. 0; or -1, and the message is there. */
static int write_value(struct writer *w) {
    lua_State *L = w->L;
    int type = lua_type(L, -1);
    switch (type) {
    case LUA_TSTRING: return write_string(w, -1);
    case LUA_TNUMBER: return write_number(w, -1);
    case LUA_TTABLE: return write_table(w);
    case LUA_TNIL: return put(w, "null", 4);
    case LUA_TBOOLEAN:
        return lua_toboolean(L, -1) ? put(w, "true", 4) : put(w, "false", 5);
    case LUA_TLIGHTUSERDATA: return write_constant(w);
    }
    return refuse(w, "is a %s: JSON cannot carry it", lua_typename(L, type));
}

/* ---- encode ------------------------------------------------------------------------- */

/* encode(value) -> text | nil, message, code */
static int l_encode(lua_State *L) {
    struct writer *w = lua_touserdata(L, lua_upvalueindex(1));
    lua_settop(L, 1);
    w->L = L;
    w->depth = 0;
    empty(w); /* a call that ran out of memory left something */
    int err = write_value(w);
    if (err == 0 && w->n > JSON_BYTES_MAX) err = refuse_size(w);
    lua_settop(L, 1);
    if (err == 0) {
        lua_pushlstring(L, w->p, w->n);
    } else {
        lua_pushnil(L);
        lua_pushstring(L, w->message);
        lua_pushstring(L, w->code);
    }
    empty(w);
    return err == 0 ? 1 : 3;
}

static int l_free(lua_State *L) {
    empty(lua_touserdata(L, 1));
    return 0;
}

void json_push_encode(lua_State *L) {
    struct writer *w = lua_newuserdatauv(L, sizeof *w, 0);
    w->p = w->own;
    empty(w);
    if (luaL_newmetatable(L, "sluice.json_writer")) {
        lua_pushcfunction(L, l_free);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    for (int mark = 1; mark <= 3; mark++) lua_pushvalue(L, mark);
    lua_pushcclosure(L, l_encode, 4);
}
