/* fleetbox-run: starts a workload in the sandbox that the active policy describes. It decides nothing about
 * the policy: the launch plan says what to do, and this program does exactly that or refuses. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alone.h"
#include "argv.h"
#include "bwrap.h"
#include "collect.h"
#include "env.h"
#include "fds.h"
#include "gate.h"
#include "inner.h"
#include "lock.h"
#include "places.h"
#include "programs.h"
#include "refuse.h"
#include "show.h"
#include "signals.h"
#include "state.h"
#include "supervise.h"
#include "wsl.h"

#ifndef FLEETBOX_VERSION
#define FLEETBOX_VERSION "unbuilt"
#endif

#define USAGE                                                                                                 \
    "usage: fleetbox-run [--workspace DIR] [--policy NAME] [--user NAME] [--dry-run|--explain] [--plan FILE]" \
    " [--mounts WHO] -- CMD [ARGS...]\n"

static const char help[] =
    USAGE
    "Runs CMD in the sandbox of this machine's policy.\n"
    "\n"
    "  --workspace DIR   the directory to work in; default: the current one\n"
    "  --policy NAME     another policy of this machine than the default one\n"
    "  --user NAME       as root: become this account first\n"
    "  --dry-run         print the exact bwrap command, quoted to paste into sh\n"
    "  --explain         print what would be visible and why, one line each\n"
    "  --plan FILE       a launch plan of your own (`fleetbox run` makes one)\n"
    "  --mounts WHO      who mounts what restricts: inner (default where it can) or bwrap\n"
    "  --version\n"
    "\n"
    "Exit status: CMD's own; 124 out of time; 125 refused; 126 not executable; 127 not found; 128+n ended by signal n.\n"
    "Example: fleetbox-run -- nvidia-smi\n";

static _Noreturn void usage_error(const char *problem, const char *word) {
    refuse("fleetbox-run --help", "%s%s", problem, word);
}

static _Noreturn void print_and_exit(const char *text) {
    fputs(text, stdout);
    exit(fflush(stdout) == 0 ? 0 : EXIT_REFUSED);
}

static bool takes_value(struct options *options, const char *word, const char ***place) {
    const struct {
        const char *word;
        const char **place;
    } known[] = {
        {"--workspace", &options->workspace},
        {"--policy", &options->policy},
        {"--user", &options->user},
        {"--plan", &options->plan},
        {"--mounts", &options->mounts},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(word, known[i].word) == 0) {
            *place = known[i].place;
            return true;
        }
    }
    return false;
}

static void parse_options(struct options *options, char **argv) {
    char **word = argv + 1;
    for (; *word && strcmp(*word, "--") != 0; word++) {
        const char **place;
        if (takes_value(options, *word, &place)) {
            if (!word[1] || *place) {
                usage_error(word[1] ? "given twice: " : "this option needs a value: ", *word);
            }
            *place = *++word;
        } else if (strcmp(*word, "--dry-run") == 0) {
            options->dry_run = true;
        } else if (strcmp(*word, "--explain") == 0) {
            options->explain = true;
        } else if (strcmp(*word, "--version") == 0) {
            print_and_exit("fleetbox-run " FLEETBOX_VERSION " (plan format " PLAN_FORMAT ")\n");
        } else if (strcmp(*word, "--help") == 0 || strcmp(*word, "-h") == 0) {
            print_and_exit(help);
        } else {
            usage_error(**word == '-' ? "unknown option: " : "put -- before the command: ", *word);
        }
    }
    if (options->mounts && strcmp(options->mounts, "inner") != 0 && strcmp(options->mounts, "bwrap") != 0) {
        usage_error("--mounts takes inner or bwrap, not ", options->mounts);
    }
    static char *no_command[] = {NULL};
    bool given = *word && word[1];
    if (!given && !options->explain) {
        usage_error("no command; put it after --", "");
    }
    if (options->dry_run && options->explain) {
        usage_error("--dry-run and --explain exclude each other", "");
    }
    options->command = given ? word + 1 : no_command;
    refuse_as(NULL, options->command[0]);
}

static _Noreturn void run_without_sandbox(const struct launch *launch) {
    warn("no sandbox: the policy %s gives full access", launch->plan.policy);
    signals_give_back();
    execvpe(launch->options.command[0], launch->options.command, (char *const *)launch->caller.env.item);
    int problem = errno;
    dprintf(STDERR_FILENO, "fleetbox-run: cannot execute %s: %s\n", launch->options.command[0], strerror(problem));
    exit(problem == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

/* Whoever can write these decides what the next launch does. */
static void refuse_own_files_in_roots(const struct launch *launch) {
    const char *own[] = {launch->files.plan_dir, launch->files.self_path, launch->state_dir};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        const struct root *root = roots_holding(&launch->roots, own[i]);
        if (root && !(i == 2 && entries_deciding(&launch->entries, own[i])->access == ACCESS_NONE)) {
            refuse("work in another directory, or keep the launcher and its launch plan elsewhere",
                   "%s lies below %s, which the workload may write", own[i], root->path);
        }
    }
}

static void prepare(struct launch *launch) {
    int wsl = wsl_here();
    gate_refuse_wsl1(wsl);
    launch->wsl2 = wsl == 2;
    if (!launch->options.plan) {
        gate_refuse_nested();
    }
    files_open(&launch->files, &launch->plan, launch->options.plan, launch->options.policy);
    caller_become(&launch->caller, launch->options.user);
    if (launch->plan.mode == MODE_FULL_ACCESS) {
        run_without_sandbox(launch);
    }
    landlock_choose(launch);
    limits_choose(launch);
    places_find(launch);
    launch->state_dir = state_dir(launch->caller.uid);
    collect_roots(launch);
    if (!launch->options.dry_run && !launch->options.explain) {
        launch->locks = lock_roots(launch->state_dir, &launch->roots);
    }
    collect(launch);
    entries_order(&launch->entries, &launch->roots, launch->plan.root == ROOT_HOST);
    refuse_own_files_in_roots(launch);
    env_build(launch);
    programs_choose(launch);
    launch->new_session = !isatty(STDIN_FILENO);
    launch->host_pids = launch->plan.host_pids && gate_proc_is_masked();
}

static struct outcome try_one(struct launch *launch, struct bwrap *bwrap, int filter) {
    struct strings argv = {0};
    argv_build(launch, bwrap, true, &argv);
    struct outcome outcome = supervise(launch, bwrap, &argv, launch->files.filter[filter], launch->locks);
    if (outcome.cannot_mount) {
        bwrap_cannot_mount(launch, bwrap);
        return try_one(launch, bwrap, filter);
    }
    return outcome;
}

/* `last` becomes the one that was tried last. */
static struct outcome try_each(struct launch *launch, struct bwrap *bwraps, size_t count, int filter,
                               const char **last) {
    for (size_t i = bwrap_usable(launch, bwraps, count, 0);;) {
        *last = bwraps[i].path;
        struct outcome outcome = try_one(launch, &bwraps[i], filter);
        size_t next = outcome.started ? count : bwrap_usable(launch, bwraps, count, i + 1);
        if (next == count) {
            return outcome;
        }
        warn("%s could not make the sandbox; trying %s", bwraps[i].path, bwraps[next].path);
        i = next;
    }
}

static int run(struct launch *launch, struct bwrap *bwraps, size_t count, int filter) {
    limits_prepare(launch);
    lock_settle(launch->plan.policy, &launch->agreed, &launch->entries);
    const char *last;
    struct outcome outcome = try_each(launch, bwraps, count, filter, &last);
    if (!outcome.started && launch->plan.host_pids && !launch->host_pids) {
        warn("trying without a PID namespace, which the policy accepts");
        launch->host_pids = true;
        outcome = try_each(launch, bwraps, count, filter, &last);
    }
    if (!outcome.started) {
        alone_say(launch);
        gate_refuse(launch, last, outcome.code);
    }
    return outcome.code;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--inner") == 0) {
        inner_main(argv + 2);
    }
    signals_take();
    fds_clean_start();
    static struct launch launch;
    parse_options(&launch.options, argv);
    prepare(&launch);
    struct bwrap bwraps[BWRAP_CANDIDATES];
    size_t count = bwrap_find(&launch, bwraps);
    int filter = argv_filter(&launch);
    if (launch.options.explain) {
        const struct bwrap *first = &bwraps[bwrap_usable(&launch, bwraps, count, 0)];
        if (first->inner_mounts) {
            frozen_choose(&launch);
        }
        show_words(&launch, first->path, filter);
    } else if (launch.options.dry_run) {
        struct strings command = {0};
        struct bwrap *first = &bwraps[bwrap_usable(&launch, bwraps, count, 0)];
        argv_build(&launch, first, false, &command);
        show_command(&launch, &command, filter);
    } else {
        return run(&launch, bwraps, count, filter);
    }
    return fflush(stdout) == 0 ? 0 : EXIT_REFUSED;
}
