/* Job control: the workload has a process group of its own, so that kill(0, …) and the terminal's keys reach it and nothing that
 * was started together with the launcher; and the launcher is to its shell what the workload is to the terminal. */
#ifndef FLEETBOX_GROUP_H
#define FLEETBOX_GROUP_H

#include <stdbool.h>
#include <sys/types.h>

#include "mem.h"

enum group {
    GROUP_SHARED,     /* the caller's group: a printed command, with no parent to play the shell's part */
    GROUP_OWN,        /* a group of its own, no terminal to share */
    GROUP_BACKGROUND, /* the same on a terminal: gets it when it asks and the launcher has it */
    GROUP_FOREGROUND, /* has the terminal from the start */
};

/* What this launch is to be; `new_session`: the sandbox has no terminal. */
enum group group_here(bool new_session);

/* The inner stage's argument. */
void group_words(bool new_session, bool controlled, struct strings *argv);

/* Inside: takes it, false for somebody else's. */
bool group_takes(enum group *group, const char *option, const char *value);

/* In the workload, last before it is executed; every signal is blocked. */
void group_enter(enum group group);

/* Inside: goes on after a stop, with the terminal or without. `front` is the group that had it, 0 for the workload's own. */
void group_continue(pid_t workload, pid_t front, bool foreground);

/* Whether the launcher's own group has the terminal. */
bool group_is_foreground(void);

/* In the launcher: stops itself and its group as the terminal would have. False when nobody is there to continue it, so that
 * the kernel ignored the signal. */
bool group_stop(void);

/* In the launcher: the terminal back to its group. */
void group_take_back(void);

#endif
