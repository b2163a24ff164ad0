/* What bwrap leaves behind when it is killed: it comes to the launcher, which ends it. */
#ifndef FLEETBOX_ORPHANS_H
#define FLEETBOX_ORPHANS_H

#include <stdbool.h>

/* From here on orphans come to this process. Before bwrap has its orders: what is there already stays. `alone`: the sandbox has no
 * mounts of its own, and its processes are known by their filter. */
void orphans_adopt(bool alone);

/* Once bwrap is gone. Ends the sandbox's processes, and nobody else's. */
void orphans_end(void);

#endif
