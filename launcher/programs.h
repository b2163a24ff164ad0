/* process.allowed_binaries: which files of this machine the names of the policy mean, and what these need to start. */
#ifndef FLEETBOX_PROGRAMS_H
#define FLEETBOX_PROGRAMS_H

#include "launch.h"

/* Fills launch->landlock.programs; needs the ordered entries and the workload's environment. */
void programs_choose(struct launch *launch);

#endif
