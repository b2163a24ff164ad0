/* The exact bwrap command of a launch. */
#ifndef FLEETBOX_ARGV_H
#define FLEETBOX_ARGV_H

#include "bwrap.h"
#include "launch.h"

/* `controlled`: a parent waits at the control socket; without it the command stands alone (--dry-run). */
void argv_build(struct launch *launch, const struct bwrap *bwrap, bool controlled, struct strings *argv);

/* The inner stage without bubblewrap, which Landlock must be enough for (alone.h). */
void argv_alone(const struct launch *launch, bool controlled, struct strings *argv);

/* Names the filter that this launch loads, FILTER_ALONE without bubblewrap, else FILTER_UNIX or FILTER_NOUNIX; refuses when the plan lacks it. */
int argv_filter(const struct launch *launch);

#endif
