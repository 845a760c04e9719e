/* The version of Sluice, said once: the rockspec, the command and the CHANGELOG are
 * compared with it by spec/repo/rockspec_spec.lua. */
#ifndef SLUICE_BASE_VERSION_H
#define SLUICE_BASE_VERSION_H

#define SLUICE_VERSION "0.1.0"

#endif
