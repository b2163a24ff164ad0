/* Starting what was prepared: by one bubblewrap after the other, and where none can, by Landlock alone if that is the same. */
#ifndef FLEETBOX_START_H
#define FLEETBOX_START_H

#include "launch.h"

/* Starts the first bubblewrap, once the roots are locked: it finds its libraries while the rest is prepared. */
void start_begin(struct launch *launch);

/* The exit status for our caller. Refuses where no sandbox could be made, naming what is in the way. */
int start_in_bwrap(struct launch *launch);

/* The same without bubblewrap; the launch has been chosen to be one (alone.h). */
int start_alone(struct launch *launch);

#endif
