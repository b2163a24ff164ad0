/* The workload's environment, built from nothing: what the policy passes, what it sets, what we add. */
#ifndef FLEETBOX_ENV_H
#define FLEETBOX_ENV_H

#include "launch.h"

void env_build(struct launch *launch);

/* True for names that would change how bwrap itself loads or runs. Such a variable reaches the workload
 * through `--setenv`, because bwrap starts outside the sandbox. */
bool env_steers_loader(const char *entry);

#endif
