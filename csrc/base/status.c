/* Names and sentences of the status codes, one row each. */
#include "base/status.h"

#include <errno.h>
#include <string.h>

struct row {
    int code;
    const char *name;
    const char *text;
};

static const struct row rows[] = {
    {E_NOMEM, "ENOMEM", "out of memory"},
    {E_BADFIELD, "EBADFIELD", "a field holds what it must not"},
    {E_TOOBIG, "ETOOBIG", "larger than the limit"},
    {E_BUSY, "EBUSY", "too much is waiting to be sent: nothing was stored, try again"},
    {E_FULL, "EFULL", "a limit is reached"},
    {E_KEY, "EKEY", "the channel needs a key and the event has none"},
    {E_CHANNEL, "ECHANNEL", "not a channel name"},
    {E_CLOSED, "ECLOSED", "closed"},
    {E_NOTFOUND, "ENOTFOUND", "not found"},
    {E_DENIED, "EDENIED", "not allowed"},
    {E_INVAL, "EINVAL", "an argument makes no sense"},
    {E_ADDRESS, "EADDRESS", "not an address"},
    {E_TIMEOUT, "ETIMEOUT", "no answer in time"},
    {E_CONNECT, "ECONNECT", "the other server cannot be reached"},
    {E_UPSTREAM, "EUPSTREAM", "the other server broke off"},
    {E_TRIMMED, "ETRIMMED", "what came after this Last-Event-ID is not kept any more"},
    {E_STORE, "ESTORE", "the disk does not take it: nothing was stored"},
    {E_LOCKED, "ELOCKED", "another process uses the data folder"},
    {E_DAMAGED, "EDAMAGED", "the store is damaged"},
    {E_RATE, "ERATE", "too many streams at a time"},
    {E_CONFLICT, "ECONFLICT", "what is stored is not what was expected"},
    {E_AWAY, "EBUSY", "Redis is away: nothing was stored, try again"},
    {E_REFUSED, "EBUSY",
     "Redis takes no writes, the log says why: nothing was stored, try again"},
    {E_MEMORY, "EFULL", "Redis is out of memory: nothing was stored"},
};

static const struct row *find(int code) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].code == code) return &rows[i];
    return NULL;
}

#ifdef __GLIBC__
static const char *system_name(int number) {
    return strerrorname_np(number);
}

static const char *system_text(int number) {
    return strerrordesc_np(number);
}
#else
/* musl knows no names: those that opening, listening, writing and starting end with. */
#define ROW(number) \
    { number, #number, NULL }
static const struct row system_rows[] = {
    ROW(EACCES),       ROW(EADDRINUSE),   ROW(EADDRNOTAVAIL), ROW(EAFNOSUPPORT),
    ROW(EAGAIN),       ROW(EBADF),        ROW(ECONNREFUSED),  ROW(ECONNRESET),
    ROW(EEXIST),       ROW(EHOSTUNREACH), ROW(EINTR),         ROW(EINVAL),
    ROW(EIO),          ROW(EISDIR),       ROW(ELOOP),         ROW(EMFILE),
    ROW(ENAMETOOLONG), ROW(ENETUNREACH),  ROW(ENFILE),        ROW(ENOBUFS),
    ROW(ENODEV),       ROW(ENOENT),       ROW(ENOMEM),        ROW(ENOSPC),
    ROW(ENOTDIR),      ROW(EPERM),        ROW(EPIPE),         ROW(EROFS),
    ROW(ETIMEDOUT),
};

static const char *system_name(int number) {
    for (size_t i = 0; i < sizeof system_rows / sizeof *system_rows; i++)
        if (system_rows[i].code == number) return system_rows[i].name;
    return NULL;
}

static const char *system_text(int number) {
    return strerror(number);
} /* constants there */
#endif

const char *status_name(int code) {
    const struct row *row = find(code);
    const char *name = row ? row->name : system_name(-code);
    return name ? name : "EUNKNOWN";
}

const char *status_text(int code) {
    const struct row *row = find(code);
    const char *text = row ? row->text : system_text(-code);
    return text ? text : "unknown error";
}
