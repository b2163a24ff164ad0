/* Starts bubblewrap with exactly the descriptors of control.h and every signal blocked. */
#ifndef FLEETBOX_SPAWN_H
#define FLEETBOX_SPAWN_H

#include <sys/types.h>

#include "bwrap.h"
#include "launch.h"

/* `control`, `filter` and `locks` are descriptors. Refuses where it cannot be executed. */
pid_t spawn_bwrap(const struct launch *launch, const struct bwrap *bwrap, const struct strings *argv, int control,
                  int filter, int locks);

#endif
