/* --dry-run and --explain: what would be done, as a command and in words. */
#ifndef FLEETBOX_SHOW_H
#define FLEETBOX_SHOW_H

#include "launch.h"

void show_command(const struct launch *launch, const struct strings *argv, int filter);

/* `bwrap` is NULL where Landlock is alone. */
void show_words(const struct launch *launch, const char *bwrap, int filter);

#endif
