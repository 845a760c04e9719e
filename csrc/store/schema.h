/* The tables of the store, and how an older file gets them. [one thread] */
#ifndef SLUICE_STORE_SCHEMA_H
#define SLUICE_STORE_SCHEMA_H

#include "store/db.h"

#define SCHEMA_APPLICATION 0x536c7563 /* "Sluc": PRAGMA application_id */
#define SCHEMA_VERSION 2              /* PRAGMA user_version */

/* Make the tables of a new file, or bring an older one to this version, in one transaction.
 * 0, E_INVAL (no store of ours, or made by a newer version) or as db.h; *why gets a
 * sentence. */
int schema_prepare(struct db *db, bool *is_new, const char **why);

/* For what only reads: the file is ours and of this version. */
int schema_check(struct db *db, const char **why);

/* For specs: make a new file that is of an older version. */
int schema_make(struct db *db, int version);

#endif
