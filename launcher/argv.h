/* What bubblewrap and the inner stage are to do, as words. */
#ifndef FLEETBOX_ARGV_H
#define FLEETBOX_ARGV_H

#include "bwrap.h"
#include "launch.h"

struct orders {
    struct strings bwrap; /* its options, without its name and without the program that it runs */
    struct strings inner; /* the inner stage's own, `--` and the command */
};

/* `controlled`: a launcher waits at the control socket; without one the command stands alone (--dry-run). */
void argv_build(struct launch *launch, const struct bwrap *bwrap, bool controlled, struct orders *orders);

/* The inner stage without bubblewrap, which Landlock must be enough for (alone.h). */
void argv_alone(const struct launch *launch, bool controlled, struct orders *orders);

/* The orders of nobody's launcher as one command; `bwrap` is NULL without bubblewrap. */
struct strings argv_line(const struct launch *launch, const struct bwrap *bwrap, const struct orders *orders);

/* Names the filter that this launch loads, FILTER_ALONE without bubblewrap, else FILTER_UNIX or FILTER_NOUNIX; refuses when the plan lacks it. */
int argv_filter(const struct launch *launch);

#endif
