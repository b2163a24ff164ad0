/* Who makes which entry. bwrap grants: the root, and what can be written or would otherwise not be there. The inner
 * stage takes away: masks, what is read-only, missing names, pins, and whatever is visible again below those. */
#ifndef FLEETBOX_PARTS_H
#define FLEETBOX_PARTS_H

#include "entries.h"

/* Both: bwrap binds it, so that there is a writable mount or a device, and the inner stage binds it again over
 * what has covered it. */
enum maker { MADE_BY_BWRAP = 1 << 0, MADE_BY_INNER = 1 << 1 };

/* Fills in `made_by` of an ordered list. */
void parts_divide(struct entries *entries);

/* The old way: everything is bwrap's, which cannot mask what has gone. */
void parts_leave_to_bwrap(struct entries *entries);

#endif
