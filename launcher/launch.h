/* Everything one launch knows. Filled from top to bottom by main.c, read by everybody else. */
#ifndef FLEETBOX_LAUNCH_H
#define FLEETBOX_LAUNCH_H

#include <stdbool.h>

#include "caller.h"
#include "entries.h"
#include "files.h"
#include "frozen.h"
#include "landlock.h"
#include "limits.h"
#include "mem.h"
#include "plan.h"
#include "resolve.h"

struct options {
    const char *workspace;
    const char *policy;
    const char *user;
    const char *plan;
    const char *mounts;
    bool dry_run;
    bool explain;
    /* Takes no lock of a GPU. It opens nothing: a lock is an agreement of launches, its caller can use the GPU outside of any
     * sandbox as well, and a workload that may start a sandbox in its own has no more there than it has already. */
    bool share_gpu;
    char **command;
};

struct launch {
    struct options options;
    struct plan plan;
    struct trusted files;
    struct caller caller;
    bool wsl2;
    const char *cwd;       /* canonical */
    const char *workspace; /* canonical */
    const char *home;      /* canonical; NULL when there is none */
    bool knows_account;
    const char *account_home; /* the same as /etc/passwd has it; NULL when that is `home`, or unknown */
    const char *tmpdir;    /* what ${TMPDIR} means */
    const char *state_dir; /* of this user; masked in the sandbox */
    struct roots roots;
    int locks; /* the descriptor that holds the locks on the roots */
    struct entries entries;
    struct strings agreed;  /* "none PATH", "read PATH": what launches over one root must have in common */
    struct strings devices; /* nodes below /dev, bound after the fresh /dev is mounted */
    struct strings absent;    /* denied outside writable roots, and not there */
    struct strings absent_in; /* in which directory each of them would be made, with those above it */
    struct later later;
    struct frozen frozen;
    struct strings skipped; /* what --explain says about rules without an effect */
    struct strings device_links; /* target and path, in turn: names below /dev that udev gives nodes */
    bool gpu_bound;
    const char *gpu_problem;     /* what keeps a GPU from being used, or why there is none; NULL where nothing is known to */
    struct strings gpu_shown;    /* for --explain: which, and why, in turn */
    struct strings gpu_env;      /* NAME=VALUE for the workload; NAME alone: the caller's is not passed on */
    struct strings gpu_defaults; /* NAME=VALUE, unless the caller's is passed on */
    bool host_pids; /* no PID namespace: the policy accepts it, and no fresh /proc can be mounted here */
    struct strings env; /* the workload's, NAME=VALUE */
    bool new_session;
    struct landlock landlock;
    struct limits limits;
};

#endif
