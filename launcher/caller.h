/* Who launches: the account, its home, its starting environment. Real uid 0 never runs a workload. */
#ifndef FLEETBOX_CALLER_H
#define FLEETBOX_CALLER_H

#include <stdbool.h>
#include <sys/types.h>

#include "mem.h"

struct caller {
    uid_t uid;
    uid_t file_owner; /* whose files count as the caller's own: the uid before `--user` switched */
    const char *home; /* $HOME; NULL when it is none */
    struct strings env; /* NAME=VALUE, what a policy may pass on */
};

/* `user` is the argument of --user or NULL. Switches for good when started as root. */
void caller_become(struct caller *caller, const char *user);

/* As /etc/passwd has it; NULL when it has not. Reading it takes a percent of a launch. */
const char *caller_account_home(const struct caller *caller);

const char *caller_env(const struct caller *caller, const char *name);

#endif
