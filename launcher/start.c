#include "start.h"

#include "alone.h"
#include "argv.h"
#include "bwrap.h"
#include "gate.h"
#include "lock.h"
#include "refuse.h"
#include "spawn.h"
#include "supervise.h"

/* Those of this machine, and the one that start_begin has started; NULL once it has its orders. */
static struct bwrap bwraps[BWRAP_CANDIDATES];
static size_t count;
static size_t first;
static struct sandbox *begun;

void start_begin(struct launch *launch) {
    count = bwrap_find(launch, bwraps);
    first = bwrap_usable(launch, bwraps, count, 0);
    begun = spawn_bwrap(launch, &bwraps[first]);
}

static struct outcome try_one(struct launch *launch, struct bwrap *bwrap) {
    struct sandbox *sandbox = begun ? begun : spawn_bwrap(launch, bwrap);
    struct orders orders = {0};
    begun = NULL;
    argv_build(launch, bwrap, true, &orders);
    struct outcome outcome = supervise(launch, sandbox, &orders, launch->files.filter[argv_filter(launch)]);
    if (outcome.cannot_mount) {
        bwrap_cannot_mount(launch, bwrap);
        return try_one(launch, bwrap);
    }
    return outcome;
}

/* `last` becomes the one that was tried last. */
static struct outcome try_each(struct launch *launch, const char **last) {
    for (size_t i = first;;) {
        *last = bwraps[i].path;
        struct outcome outcome = try_one(launch, &bwraps[i]);
        size_t next = outcome.started ? count : bwrap_usable(launch, bwraps, count, i + 1);
        if (next == count) {
            return outcome;
        }
        warn("%s could not make the sandbox; trying %s", bwraps[i].path, bwraps[next].path);
        i = next;
    }
}

/* The inner stage in bubblewrap's place: it needs no privilege. */
static struct outcome run_alone(struct launch *launch) {
    struct orders orders = {0};
    argv_alone(launch, true, &orders);
    return supervise(launch, spawn_alone(launch), &orders, launch->files.filter[argv_filter(launch)]);
}

/* Never in place of what --mounts asks for. */
static struct outcome try_alone(struct launch *launch, struct outcome outcome) {
    const char *problem = alone_problem(launch);
    if (launch->options.mounts || launch->plan.landlock == LANDLOCK_OFF) {
        return outcome;
    }
    if (problem) {
        warn("Landlock alone would be less than this policy: %s", problem);
        return outcome;
    }
    warn("no bubblewrap here: the sandbox is Landlock and a filter alone, in which this policy means the same");
    alone_choose(launch);
    return run_alone(launch);
}

int start_in_bwrap(struct launch *launch) {
    limits_prepare(launch);
    lock_settle(launch->plan.policy, &launch->agreed, &launch->entries);
    const char *last;
    struct outcome outcome = try_each(launch, &last);
    if (!outcome.started && launch->plan.host_pids && !launch->host_pids) {
        warn("trying without a PID namespace, which the policy accepts");
        launch->host_pids = true;
        outcome = try_each(launch, &last);
    }
    if (!outcome.started) {
        outcome = try_alone(launch, outcome);
    }
    if (!outcome.started) {
        gate_refuse(launch, last, outcome.code);
    }
    return outcome.code;
}

int start_alone(struct launch *launch) {
    limits_prepare(launch);
    struct outcome outcome = run_alone(launch);
    if (!outcome.started) {
        refuse("", "the sandbox ended with %d before the workload began", outcome.code);
    }
    return outcome.code;
}
