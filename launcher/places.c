#include "places.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "path.h"
#include "refuse.h"

/* The directory that a placeholder stands for, NULL for none; `rest` is what follows it. */
static const char *placeholder(const struct launch *launch, const char *place, const char **rest) {
    const struct {
        const char *holder;
        const char *value;
    } holders[] = {
        {"${WORKSPACE}", launch->workspace},
        {"${HOME}", launch->home},
        {"${TMPDIR}", launch->tmpdir},
    };
    for (size_t i = 0; i < sizeof holders / sizeof *holders; i++) {
        size_t length = strlen(holders[i].holder);
        if (strncmp(place, holders[i].holder, length) != 0) {
            continue;
        }
        if (!holders[i].value) {
            refuse("set HOME to a directory that exists", "the policy speaks of the home directory, and there is none");
        }
        *rest = place[length] ? place + length + 1 : place + length;
        return holders[i].value;
    }
    return NULL;
}

const char *expand(const struct launch *launch, const char *place) {
    const char *rest;
    const char *base = placeholder(launch, place, &rest);
    return !base ? place : *rest ? path_join(base, rest) : base;
}

/* Workspace and home are canonical already: most rules begin there, and need not be walked from the root. */
struct resolved find(const struct launch *launch, const char *place) {
    const char *rest;
    const char *base = placeholder(launch, place, &rest);
    if (base && (base == launch->workspace || base == launch->home)) {
        return resolve_below(base, rest, &launch->roots);
    }
    return resolve(expand(launch, place), &launch->roots);
}

bool is_virtual(const char *path) {
    return path_at_or_below(path, "/proc") || path_at_or_below(path, "/dev");
}

struct resolved find_writable(const struct launch *launch, const char *place) {
    const struct trust trust = {{launch->home, launch->account_home}};
    return resolve_trusted(expand(launch, place), &launch->roots, &trust);
}

void refuse_everything(const struct resolved *place, const char *access) {
    if (strcmp(place->path, "/") == 0) {
        refuse("name the directories that are meant", "the policy has a rule \"%s\" for /", access);
    }
}

static const char *canonical_dir(const char *path, const char *what) {
    char canonical[PATH_LIMIT];
    struct stat st;
    if (!realpath(path, canonical) || stat(canonical, &st) != 0) {
        refuse("name a directory that exists", "cannot use %s as %s: %s", path, what, strerror(errno));
    }
    if (!S_ISDIR(st.st_mode)) {
        refuse("name a directory", "%s is no directory", path);
    }
    return mem_copy(canonical, strlen(canonical));
}

static bool has_write_rule(const struct launch *launch, const char *path) {
    for (size_t i = 0; i < launch->plan.op_count; i++) {
        const struct op *op = &launch->plan.op[i];
        if (op->kind == OP_RULE && strcmp(op->arg[0], "write") == 0 && strcmp(expand(launch, op->arg[1]), path) == 0) {
            return true;
        }
    }
    return false;
}

static const char *canonical_home(const char *path) {
    char canonical[PATH_LIMIT];
    return path && realpath(path, canonical) ? mem_copy(canonical, strlen(canonical)) : NULL;
}

static bool holds_home(const struct launch *launch, const char *home) {
    return home && path_at_or_below(home, launch->workspace) && !has_write_rule(launch, home);
}

/* A whole home directory, or all homes, would be written by whoever forgets to change directory. */
static void refuse_broad_workspace(const struct launch *launch, const char *home) {
    bool writable = launch->plan.mode == MODE_WORKSPACE_WRITE && launch->plan.workspace == WORKSPACE_WRITE;
    if (writable && (strcmp(launch->workspace, "/") == 0 || holds_home(launch, home))) {
        refuse("change into a project directory, or name one with --workspace",
               "%s is too broad for a workspace that can be written", launch->workspace);
    }
}

/* $HOME is the caller's choice; what the policy denies below ~ is denied in the account's own home as well. */
void places_find_account(struct launch *launch) {
    if (launch->knows_account) {
        return;
    }
    launch->knows_account = true;
    launch->account_home = canonical_home(caller_account_home(&launch->caller));
    if (!launch->home) {
        launch->home = launch->account_home;
    }
    if (launch->home && launch->account_home && strcmp(launch->home, launch->account_home) == 0) {
        launch->account_home = NULL;
    }
    refuse_broad_workspace(launch, launch->account_home);
}

void places_find(struct launch *launch) {
    launch->cwd = canonical_dir(".", "the current directory");
    launch->workspace = launch->options.workspace ? canonical_dir(launch->options.workspace, "the workspace") : launch->cwd;
    launch->tmpdir = caller_env(&launch->caller, "TMPDIR");
    if (launch->plan.tmp != TMP_HOST || !launch->tmpdir || !path_is_plain_absolute(launch->tmpdir)) {
        launch->tmpdir = "/tmp";
    }
    launch->home = canonical_home(launch->caller.home);
    if (!launch->home) {
        places_find_account(launch);
    }
    if (is_virtual(launch->workspace)) {
        refuse("work in a directory of files", "%s cannot be a workspace: the sandbox has its own /dev and /proc",
               launch->workspace);
    }
    refuse_broad_workspace(launch, launch->home);
}
