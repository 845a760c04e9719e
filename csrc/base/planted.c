/* Which planted bug is active: none, until testing.plant(n) or $SLUICE_PLANT says so. A server
 * is a process of its own, so a spec chooses its bug by the variable. */
#include "base/planted.h"

#ifdef SLUICE_PLANTED
#include <stdlib.h>

int planted_bug;

__attribute__((constructor)) static void planted_choose(void) {
    const char *text = getenv("SLUICE_PLANT");
    if (text) planted_bug = (int)strtol(text, NULL, 10);
}
#endif
