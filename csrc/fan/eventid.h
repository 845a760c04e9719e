/* Event ids on the wire: "<epoch>-<seq>", the cursor a client brings back.
 *
 * The text comes from outside: it is compared, never trusted. "stop" is the id of a
 * bye(stop): the client shall stay away. */
#ifndef SLUICE_FAN_EVENTID_H
#define SLUICE_FAN_EVENTID_H

#include "base/slice.h"
#include "fan/frame.h"

enum eventid_kind { EVENTID_NONE, EVENTID_GOOD, EVENTID_BAD, EVENTID_STOP };

struct eventid {
    enum eventid_kind kind;
    char epoch[EPOCH_LENGTH + 1];
    uint64_t seq;
};

/* ^[a-z2-7]{13}-(0|[1-9][0-9]{0,18})$ is good, nothing is none, the rest is bad. */
struct eventid eventid_parse(struct slice text);

#define EVENTID_TEXT_MAX (EPOCH_LENGTH + 1 + 20) /* without a NUL */

/* Write the text of an id; returns its length. */
size_t eventid_text(char out[EVENTID_TEXT_MAX], const char *epoch, uint64_t seq);

/* The last id of what was written to a stream; EVENTID_NONE: it has none. */
struct eventid eventid_last(struct slice blocks);

#endif
