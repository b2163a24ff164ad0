#include "spawn.h"

#include <signal.h>
#include <spawn.h>
#include <string.h>

#include "control.h"
#include "env.h"
#include "refuse.h"
#include "signals.h"

static void pass_on(posix_spawn_file_actions_t *actions, int fd, int as) {
    if (posix_spawn_file_actions_adddup2(actions, fd, as) != 0) {
        refuse("", "cannot prepare the descriptors of the sandbox");
    }
}

/* The workload's, but for what would make the dynamic loader run something else in bwrap. */
static struct strings environment(const struct launch *launch) {
    struct strings env = {0};
    for (size_t i = 0; i < launch->env.count; i++) {
        if (!env_steers_loader(launch->env.item[i])) {
            strings_add(&env, launch->env.item[i]);
        }
    }
    return env;
}

pid_t spawn_bwrap(const struct launch *launch, const struct bwrap *bwrap, const struct strings *argv, int control,
                  int filter, int locks) {
    struct strings env = environment(launch);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    pass_on(&actions, control, FD_CONTROL);
    pass_on(&actions, launch->files.self, FD_SELF);
    pass_on(&actions, filter, FD_FILTER);
    pass_on(&actions, locks, FD_LOCK);
    pass_on(&actions, bwrap->fd, FD_BWRAP);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t all;
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &all);
    sigset_t taken = signals_taken();
    posix_spawnattr_setsigdefault(&attributes, &taken);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    pid_t pid;
    int problem = posix_spawn(&pid, mem_text("/proc/self/fd/%d", FD_BWRAP), &actions, &attributes,
                              (char *const *)argv->item, (char *const *)env.item);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (problem) {
        refuse("install bubblewrap for this machine", "cannot run %s: %s", bwrap->path, strerror(problem));
    }
    return pid;
}
