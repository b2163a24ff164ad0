/* Starts the workload and stays as process 1 of the sandbox, which nothing inside can kill or trace. */
#ifndef FLEETBOX_TEND_H
#define FLEETBOX_TEND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "group.h"
#include "landlock.h"
#include "limits.h"

struct tend {
    int control; /* -1: nobody listens, messages go to stderr */
    uint64_t blocked;
    char **command;
    struct landlock landlock;
    struct limits limits;
    enum group group;
    pid_t workload;
    pid_t front; /* the group that had the terminal when the workload was stopped */
    volatile int exec_errno; /* written by the workload's side, which shares our memory until it is executed */
    int early;   /* a signal that came while nothing was started yet */
    int clock; /* readable when the workload's time is over; -1: it has all the time */
    bool overdue;
    bool bound; /* to a domain of our own: a signal to everybody reaches the workload's processes only */
};

/* Takes one of the inner stage's arguments that is about the workload's start; false for any other. */
bool tend_takes(struct tend *tend, const char *option, char *value);

/* Everything before the workload is done. Ends with its exit status. */
_Noreturn void tend_workload(struct tend *tend);

#endif
