/* Privileges of the inner stage: gone before anything of the workload starts. */
#ifndef FLEETBOX_CAPS_H
#define FLEETBOX_CAPS_H

#include <stdbool.h>

/* Gives every capability up, in every set, for good, and reads them back. NULL, or what is wrong. `bounding` is false for a
 * process without CAP_SETPCAP: there no_new_privs alone keeps the bounding set from mattering. */
const char *caps_drop(bool bounding);

#endif
