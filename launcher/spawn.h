/* Starts bubblewrap, or the inner stage in its place, with exactly the descriptors of control.h, no environment and every
 * signal blocked. Neither does anything before it has its orders (orders.h). */
#ifndef FLEETBOX_SPAWN_H
#define FLEETBOX_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

#include "bwrap.h"
#include "launch.h"

/* A sandbox that runs. There is one at a time, and at exit it is ended before anything is cleaned up. */
struct sandbox {
    pid_t pid;   /* bubblewrap's; 0 once it has ended */
    int control; /* our end of the control socket */
    int options; /* what is written here is bubblewrap's options; -1: there is none */
    int words;   /* and here what the inner stage is to do */
};

/* Refuse where it cannot be executed. */
struct sandbox *spawn_bwrap(const struct launch *launch, const struct bwrap *bwrap);
struct sandbox *spawn_alone(const struct launch *launch);

/* True once it has ended; then `status` is its wait status. */
bool sandbox_has_ended(struct sandbox *sandbox, int *status);

/* Only says so; what else is in it ends by itself, or with orphans_end. */
void sandbox_kill(const struct sandbox *sandbox);

/* Ends it with everything in it. */
void sandbox_end(struct sandbox *sandbox);

#endif
