/* The small parent: gives the orders, passes signals on, turns every end into one exit status. */
#ifndef FLEETBOX_SUPERVISE_H
#define FLEETBOX_SUPERVISE_H

#include <stdbool.h>

#include "argv.h"
#include "launch.h"
#include "spawn.h"

struct outcome {
    bool started; /* the inner stage came as far as executing the workload */
    bool cannot_mount; /* the inner stage has no privilege to mount: nothing was done */
    int code;     /* exit status for our own caller; bwrap's when not started */
};

/* Of a sandbox that has no orders yet. `filter` is a descriptor. Refuses by itself what the inner stage refused. */
struct outcome supervise(const struct launch *launch, struct sandbox *sandbox, const struct orders *orders, int filter);

#endif
