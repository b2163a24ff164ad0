/* Landlock, the second layer: what the mounts say about writing, said once more by another part of the kernel, and what
 * mounts cannot say (programs, abstract sockets, signals). Reading stays the mounts' business. */
#ifndef FLEETBOX_LANDLOCK_H
#define FLEETBOX_LANDLOCK_H

#include <stdbool.h>

#include "mem.h"

struct launch;

enum landlock_layer {
    LANDLOCK_WRITES = 1 << 0,   /* changing files, only below the writable places */
    LANDLOCK_PROGRAMS = 1 << 1, /* executing, only what is listed */
    LANDLOCK_SCOPES = 1 << 2,   /* no abstract socket of the host, no signal to what is outside */
};

struct landlock {
    int abi;
    unsigned layers;
    struct strings writable;
    struct strings programs;
    const char *missing; /* why something of it is not used here, for people; NULL for nothing */
};

/* What this kernel and the launch plan allow; refuses what is required and not there. */
void landlock_choose(struct launch *launch);

/* The inner stage's arguments. */
void landlock_words(const struct launch *launch, struct strings *argv);

/* What --explain says. */
void landlock_show(const struct launch *launch);

/* Inside: takes one of its arguments, false for somebody else's. */
bool landlock_takes(struct landlock *landlock, const char *option, const char *value);

/* Inside: the ruleset, -1 for none. Gives up where a rule cannot be made: less would be granted, or more than meant. */
int landlock_rules(const struct landlock *landlock, int control);

/* Binds the calling process to the ruleset, and everything it starts. */
bool landlock_enter(int ruleset);

#endif
