/* Starts the workload and stays as process 1 of the sandbox, which nothing inside can kill or trace. */
#ifndef FLEETBOX_TEND_H
#define FLEETBOX_TEND_H

#include <stdint.h>
#include <sys/types.h>

struct tend {
    int control; /* -1: nobody listens, messages go to stderr */
    uint64_t blocked;
    char **command;
    pid_t workload;
};

/* Everything before the workload is done. Ends with its exit status. */
_Noreturn void tend_workload(struct tend *tend);

#endif
