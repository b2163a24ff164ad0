/* Could Landlock alone, without bubblewrap, be the same sandbox? (docs/adr/0005) */
#ifndef FLEETBOX_ALONE_H
#define FLEETBOX_ALONE_H

#include "launch.h"

/* Everything of this launch that Landlock cannot express, in words; none would mean the same sandbox. */
struct strings alone_reasons(const struct launch *launch);

/* Says all of them at once, where the policy lets Landlock be used at all. */
void alone_say(const struct launch *launch);

#endif
