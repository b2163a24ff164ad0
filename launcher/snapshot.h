/* A directory as it is now, where others may change its names: in its place a read-only one of ours, in which each
 * name is bound by itself. What gets a name in it later is not seen, and what is replaced is seen as it was. */
#ifndef FLEETBOX_SNAPSHOT_H
#define FLEETBOX_SNAPSHOT_H

#include "carving.h"

/* Takes everything that is there, before anything covers it, and makes its names; those of masks are masks. */
void snapshot_take(const struct carving *carving, struct job *job);

/* Puts it in the place of the directory. */
void snapshot_show(const struct carving *carving, struct job *job);

#endif
