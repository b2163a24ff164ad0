/* Binds of a writable mount, made before anything covers parts of it. What is below it is bound from these: bound
 * from the mount itself, each would cost as much as there are mounts below it by then. */
#ifndef FLEETBOX_CLONES_H
#define FLEETBOX_CLONES_H

#include "carving.h"

/* Opens the source of a job that is bound from no clone, before something covers it. */
void clones_open_early(const struct carving *carving, struct job *job);

/* All that are needed. */
void clones_make(const struct carving *carving);

/* What the job binds: below a clone of what bwrap bound; without one only what was opened early. -1 and errno. */
int clones_source(const struct job *job);

#endif
