/* Denied names that are made or replaced on the host while the sandbox runs, where no snapshot hides what has them then.
 * It is said, so that the user knows what the workload may have read; ending the workload would come too late. */
#ifndef FLEETBOX_LATE_H
#define FLEETBOX_LATE_H

#include "launch.h"

/* A descriptor that is readable when there is something to look at; -1 where there is nothing to look for. */
int late_watch(const struct launch *launch);

/* Says what has happened since. Returns the descriptor to wait for from now on. */
int late_look(int descriptor);

/* Once more, when the sandbox has ended. */
void late_end(void);

#endif
