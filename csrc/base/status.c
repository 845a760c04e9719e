/* Names and sentences of the status codes, one row each. */
#include "base/status.h"

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
};

static const struct row *find(int code) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].code == code) return &rows[i];
    return NULL;
}

const char *status_name(int code) {
    const struct row *row = find(code);
    const char *name = row ? row->name : strerrorname_np(-code);
    return name ? name : "EUNKNOWN";
}

const char *status_text(int code) {
    const struct row *row = find(code);
    const char *text = row ? row->text : strerrordesc_np(-code);
    return text ? text : "unknown error";
}
