/* process.limits: memory and processes in a cgroup of the launch where this account has one delegated, else as limits of each
 * process; and the workload's time, which the inner stage keeps because nothing inside can stop it. */
#ifndef FLEETBOX_LIMITS_H
#define FLEETBOX_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "mem.h"

struct launch;

/* How long a workload may take to end by itself after SIGTERM, and the parent longer than the inner stage. */
enum { LIMITS_GRACE = 5 };

struct limits {
    uint64_t memory; /* bytes; 0: no limit, here and below */
    uint64_t pids;
    uint64_t wall; /* seconds */
    const char *cgroup; /* the directory in which one can be made; NULL for none */
    bool memory_in_cgroup;
    bool pids_in_cgroup;
    bool waits; /* inside: the parent places the inner stage first */
};

/* Reads the launch plan's limits and finds what can hold them. */
void limits_choose(struct launch *launch);

/* Makes the cgroup, or says on stderr what holds less than the policy says. Removed at exit. */
void limits_prepare(struct launch *launch);

/* The inner stage's arguments; a command without a parent (`controlled` false) has no cgroup. */
void limits_words(const struct launch *launch, bool controlled, struct strings *argv);

/* What --explain says. */
void limits_show(const struct launch *launch);

/* Inside: takes one of its arguments, false for somebody else's. */
bool limits_takes(struct limits *limits, const char *option, const char *value);

/* Binds the calling process and everything it starts. */
bool limits_enter(const struct limits *limits);

#endif
