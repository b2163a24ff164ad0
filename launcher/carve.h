/* What the inner stage takes away from what bwrap granted, in a mount namespace of its own: no mount of the host
 * arrives in it later, and no path is followed twice. */
#ifndef FLEETBOX_CARVE_H
#define FLEETBOX_CARVE_H

#include "mountlist.h"

/* Does all jobs and verifies them, or gives up. MESSAGE_CANNOT_MOUNT when this process may not mount at all: then
 * nothing has been done. */
void carve(int control, struct jobs *jobs);

#endif
