/* Mountpoints that a launch has to make, and who may remove them again.
 *
 * Every launch holds a shared lock per writable root until its last process is gone; the locks are byte
 * ranges of one file, so that one descriptor carries them all into the sandbox. Only who gets a root
 * exclusively removes the mountpoints recorded for it: removing a directory would silently detach the
 * mount that protects it in another sandbox. */
#ifndef FLEETBOX_LOCK_H
#define FLEETBOX_LOCK_H

#include "entries.h"

/* Locks every root, which must come outermost first; removes what a killed launch left; fills `roots->made`.
 * Returns the descriptor that holds the locks. Registers the clean-up with atexit. */
int lock_roots(const char *state_dir, struct roots *roots);

/* Once the entries are known: refuses when a running sandbox protects other names than `agreed` in the same
 * directory, or works further up or below where it could move them or this one could; records and makes the missing
 * mountpoints. `policy` is what the record will name to others. */
void lock_settle(const char *policy, struct strings *agreed, struct entries *entries);

#endif
