/* core.disk: a disk in memory for rehearsals, which outlives the servers that use it. */
#ifndef SLUICE_BIND_DISK_H
#define SLUICE_BIND_DISK_H

#include "store/disk.h"

#include <lua.h>

int lx_disk_new(lua_State *L); /* core.disk(seed) -> disk */

/* Field of the table at 'index': a disk, borrowed; NULL when it is absent. */
struct disk *lx_field_disk(lua_State *L, int index, const char *name);

#endif
