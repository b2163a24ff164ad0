/* Privileges of the inner stage: gone before anything of the workload starts. */
#ifndef FLEETBOX_CAPS_H
#define FLEETBOX_CAPS_H

#include <stdbool.h>

/* CAP_SYS_ADMIN, which the inner stage mounts with. */
bool caps_can_mount(void);

/* Gives every capability up, in every set, for good, and reads them back. NULL, or what is wrong. */
const char *caps_drop(void);

#endif
