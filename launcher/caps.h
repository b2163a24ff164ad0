/* Privileges of the inner stage: gone before anything of the workload starts. */
#ifndef FLEETBOX_CAPS_H
#define FLEETBOX_CAPS_H

/* Gives every capability up, in every set, for good, and reads them back. NULL, or what is wrong. */
const char *caps_drop(void);

#endif
