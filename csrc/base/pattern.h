/* The one pattern language of routes, channels, guards and hooks.
 *
 * A pattern is a list of segments between slashes: a literal, ":name" (one segment,
 * captured), "*" (one segment), and at the end "*name" or "**" (the rest, which may be
 * empty; captured as 'name' or "rest"). Routes start with a slash, channels do not. */
#ifndef SLUICE_BASE_PATTERN_H
#define SLUICE_BASE_PATTERN_H

#include "base/bounds.h"
#include "base/slice.h"

struct capture {
    struct slice name;  /* borrowed from the pattern */
    struct slice value; /* borrowed from the name that was matched */
};

/* NULL when the pattern is well formed, else what is wrong with it. */
const char *pattern_check(struct slice pattern);

/* The number of captures written to 'out' (PATTERN_CAPTURES_MAX of them at most), or -1
 * when 'name' does not match. */
int pattern_match(struct slice pattern, struct slice name, struct capture *out);

/* How specific a pattern is: a longer literal start wins, then fewer wildcards. */
unsigned pattern_weight(struct slice pattern);

/* Whether it holds a wildcard or a capture. */
bool pattern_is_literal(struct slice pattern);

/* NULL when 'name' names one channel, else what is wrong with it. */
const char *pattern_check_channel(struct slice name);

#endif
