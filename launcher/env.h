/* The workload's environment, built from nothing: what the policy passes, what it sets, what we add. */
#ifndef FLEETBOX_ENV_H
#define FLEETBOX_ENV_H

#include "launch.h"

void env_build(struct launch *launch);

/* True for names that would change how bwrap itself loads or runs, which starts outside the sandbox. In a printed
 * command such a variable is a word of the inner stage, and reaches only the workload. */
bool env_steers_loader(const char *entry);

#endif
