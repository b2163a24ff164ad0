/* The small parent: starts bwrap, passes signals on, turns every end into one exit status. */
#ifndef FLEETBOX_SUPERVISE_H
#define FLEETBOX_SUPERVISE_H

#include <stdbool.h>

#include "bwrap.h"
#include "launch.h"

struct outcome {
    bool started; /* the inner stage came as far as executing the workload */
    bool cannot_mount; /* the inner stage has no privilege to mount: nothing was done */
    int code;     /* exit status for our own caller; bwrap's when not started */
};

/* `filter` and `locks` are descriptors. Refuses by itself what the inner stage refused. */
struct outcome supervise(const struct launch *launch, const struct bwrap *bwrap, const struct strings *argv,
                         int filter, int locks);

#endif
