/* The text of a mail on the wire (RFC 5322, RFC 2045 6.7): lines that end in CRLF and have at
 * most 76 bytes of ASCII, as they are when they all are so, else quoted-printable. Pure. */
#ifndef SLUICE_BASE_QUOTED_H
#define SLUICE_BASE_QUOTED_H

#include "base/buf.h"

#include <stdbool.h>

/* Append a text, whose lines end in CRLF, LF or CR (copies). '*plain': it is as it was.
 * 0 or E_NOMEM. */
int quoted_write(struct buf *out, struct slice text, bool *plain);

#endif
