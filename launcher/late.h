/* Denied files that are made or replaced on the host while the sandbox runs: what no mask made at launch can cover.
 * It is said, so that the user knows what the workload may have read; ending the workload would come too late. */
#ifndef FLEETBOX_LATE_H
#define FLEETBOX_LATE_H

#include "launch.h"

/* A descriptor that is readable when something may have happened; -1 where nothing can be watched. */
int late_watch(const struct launch *launch);

/* Says what happened since. */
void late_look(int descriptor);

#endif
