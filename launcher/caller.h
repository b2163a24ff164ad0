/* Who launches: the account, its home, its starting environment. Real uid 0 never runs a workload. */
#ifndef FLEETBOX_CALLER_H
#define FLEETBOX_CALLER_H

#include <stdbool.h>
#include <sys/types.h>

#include "mem.h"

struct caller {
    uid_t uid;
    uid_t file_owner; /* whose files count as the caller's own: the uid before `--user` switched */
    const char *home; /* $HOME, else the account's; NULL when unknown */
    const char *account_home; /* as /etc/passwd has it; NULL when it has not */
    struct strings env; /* NAME=VALUE, what a policy may pass on */
};

/* `user` is the argument of --user or NULL. Switches for good when started as root. */
void caller_become(struct caller *caller, const char *user);

const char *caller_env(const struct caller *caller, const char *name);

#endif
