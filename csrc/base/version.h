/* The version of Sluice. `make version VERSION=0.2.0` writes it here and into the files whose
 * format wants a copy; spec/repo/version_spec.lua holds them equal. */
#ifndef SLUICE_BASE_VERSION_H
#define SLUICE_BASE_VERSION_H

#define SLUICE_VERSION "0.1.0"

#endif
