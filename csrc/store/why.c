/* See why.h. [any thread] */
#include "store/why.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char text[512];

const char *why_says(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return text;
}
