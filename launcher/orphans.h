/* What bwrap leaves behind when it is killed: it comes to the launcher, which ends it. */
#ifndef FLEETBOX_ORPHANS_H
#define FLEETBOX_ORPHANS_H

/* From here on orphans come to this process. Before bwrap is started: what is there already stays. */
void orphans_adopt(void);

/* Once bwrap is gone. Ends the sandbox's processes, and nobody else's. */
void orphans_end(void);

#endif
