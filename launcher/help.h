/* What a program prints when it is asked for help: bounded in time and size, because it may be anything. */
#ifndef FLEETBOX_HELP_H
#define FLEETBOX_HELP_H

#include "bwrap.h"

/* Fills in `text` (NUL-terminated); returns NULL, or what is wrong with this bwrap. */
const char *help_read(const struct bwrap *bwrap, const char **text);

#endif
