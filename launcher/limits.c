#include "limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cgroup.h"
#include "launch.h"
#include "refuse.h"

static uint64_t *amount_named(struct limits *limits, const char *name) {
    return strcmp(name, "memory") == 0 ? &limits->memory : strcmp(name, "pids") == 0 ? &limits->pids : &limits->wall;
}

void limits_choose(struct launch *launch) {
    struct limits *limits = &launch->limits;
    for (size_t i = 0; i < launch->plan.op_count; i++) {
        const struct op *op = &launch->plan.op[i];
        if (op->kind == OP_LIMIT) {
            *amount_named(limits, op->arg[0]) = strtoull(op->arg[1], NULL, 10);
        }
    }
    if (limits->memory || limits->pids) {
        cgroup_find(limits);
    }
}

void limits_prepare(struct launch *launch) {
    struct limits *limits = &launch->limits;
    if (limits->cgroup && !cgroup_make(limits)) {
        limits->cgroup = NULL;
        limits->memory_in_cgroup = limits->pids_in_cgroup = false;
    }
    if (limits->memory && !limits->memory_in_cgroup) {
        warn("process.limits.memory holds for each process, not for all together: no cgroup with memory is delegated here");
    }
}

static void word(struct strings *argv, const char *option, uint64_t amount) {
    if (amount) {
        strings_add(argv, option);
        strings_add(argv, mem_text("%" PRIu64, amount));
    }
}

void limits_words(const struct launch *launch, bool controlled, struct strings *argv) {
    const struct limits *limits = &launch->limits;
    word(argv, "--limit-memory", controlled && limits->memory_in_cgroup ? 0 : limits->memory);
    word(argv, "--limit-pids", controlled && limits->pids_in_cgroup ? 0 : limits->pids);
    word(argv, "--limit-wall", limits->wall);
    word(argv, "--wait-for-cgroup", controlled && limits->cgroup ? 1 : 0);
}

static void show(const char *what, uint64_t amount, const char *how) {
    if (amount) {
        printf("%-9s %s %" PRIu64 "  (%s)\n", "limit", what, amount, how);
    }
}

void limits_show(const struct launch *launch) {
    const struct limits *limits = &launch->limits;
    show("bytes of memory", limits->memory,
         limits->memory_in_cgroup ? limits->cgroup : "of each process: no cgroup with memory is delegated here");
    show("processes and threads", limits->pids, limits->pids_in_cgroup ? limits->cgroup : "of this user in the sandbox");
    show("seconds", limits->wall, "then SIGTERM, and SIGKILL after 5 more");
}

bool limits_takes(struct limits *limits, const char *option, const char *value) {
    const char prefix[] = "--limit-";
    if (strcmp(option, "--wait-for-cgroup") == 0) {
        limits->waits = true;
    } else if (strncmp(option, prefix, sizeof prefix - 1) == 0) {
        *amount_named(limits, option + sizeof prefix - 1) = strtoull(value, NULL, 10);
    } else {
        return false;
    }
    return true;
}

static bool set(int resource, uint64_t amount) {
    struct rlimit limit;
    if (!amount) {
        return true;
    }
    if (getrlimit(resource, &limit) != 0) {
        return false;
    }
    limit.rlim_max = limit.rlim_max < amount ? limit.rlim_max : amount;
    limit.rlim_cur = limit.rlim_cur < limit.rlim_max ? limit.rlim_cur : limit.rlim_max;
    return setrlimit(resource, &limit) == 0;
}

/* Data, not address space: CUDA reserves terabytes of that. The inner stage is one of the user's processes, too. */
bool limits_enter(const struct limits *limits) {
    return set(RLIMIT_DATA, limits->memory) && set(RLIMIT_NPROC, limits->pids ? limits->pids + 1 : 0);
}
