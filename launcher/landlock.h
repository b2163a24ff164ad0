/* Landlock, the second layer: what the mounts say about writing, said once more by another part of the kernel, and what
 * mounts cannot say (programs, abstract sockets, signals). Reading stays the mounts' business, unless there are none: then
 * it is the only layer, and says all of it (docs/adr/0005). */
#ifndef FLEETBOX_LANDLOCK_H
#define FLEETBOX_LANDLOCK_H

#include <stdbool.h>

#include "mem.h"
#include "mountlist.h"

struct launch;

enum landlock_layer {
    LANDLOCK_WRITES = 1 << 0,   /* changing files, only below the writable places */
    LANDLOCK_PROGRAMS = 1 << 1, /* executing, only what is listed */
    LANDLOCK_SCOPES = 1 << 2,   /* no abstract socket of the host, no signal to what is outside */
    LANDLOCK_ALONE = 1 << 3,    /* instead of the mounts: reading only what is listed, and writing nothing */
};

struct landlock {
    int abi;
    unsigned layers;
    struct strings writable;
    struct strings programs;
    struct jobs places;  /* inside, without mounts: what is closed, and what is open again below it */
    const char *missing; /* why something of it is not used here, for people; NULL for nothing */
};

enum { LANDLOCK_ABI_SCOPES = 6 };

/* What this kernel and the launch plan allow; refuses what is required and not there. */
void landlock_choose(struct launch *launch);

/* The inner stage's arguments. */
void landlock_words(const struct launch *launch, struct strings *argv);

/* What --explain says. */
void landlock_show(const struct launch *launch);

/* Inside: takes one of its arguments, false for somebody else's. */
bool landlock_takes(struct landlock *landlock, const char *option, char *value);

/* Inside: the ruleset, -1 for none. Gives up where a rule cannot be made: less would be granted, or more than meant. */
int landlock_rules(const struct landlock *landlock, int control);

/* Binds the calling process to the ruleset, and everything it starts. */
bool landlock_enter(int ruleset);

#endif
