/* The empty directories that missing protected names are mounted on: made, recorded before, removed after. */
#ifndef FLEETBOX_MOUNTPOINT_H
#define FLEETBOX_MOUNTPOINT_H

#include "entries.h"

/* Records what has to be made below `root`: before anything is made, so that a crash leaves no residue that
 * nobody knows of. */
void mountpoints_record(int record, const struct roots *roots, const struct root *root, const struct entries *entries);

/* Entries whose mountpoint this user cannot make are dropped: then the workload cannot make that name either. */
void mountpoints_make(const struct roots *roots, const struct root *root, struct entries *entries);

/* Removes what is recorded and still empty. False when the record cannot be written. */
bool mountpoints_remove(int record, const struct root *root);

#endif
