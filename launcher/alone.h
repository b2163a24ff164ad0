/* Landlock alone, where bubblewrap cannot work: only when the policy means the same there, point by point (docs/adr/0005). */
#ifndef FLEETBOX_ALONE_H
#define FLEETBOX_ALONE_H

#include "launch.h"

/* Everything of this launch that would be less without bubblewrap, in words; none means the same sandbox. */
struct strings alone_reasons(const struct launch *launch);

/* The same in one line; NULL for none. */
const char *alone_problem(const struct launch *launch);

/* The policy accepts it, whether or not it means the same here. */
bool alone_is_accepted(const struct launch *launch);

/* From here on the launch is one without bubblewrap. */
void alone_choose(struct launch *launch);

/* What the inner stage may let the workload read, as mountlist.h writes it. */
struct strings alone_places(const struct launch *launch);

#endif
