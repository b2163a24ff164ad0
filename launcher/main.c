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
#include "start.h"
#include "state.h"
#include "wsl.h"

#ifndef FLEETBOX_VERSION
#define FLEETBOX_VERSION "unbuilt"
#endif

#define USAGE                                                                                                 \
    "usage: fleetbox-run [--workspace DIR] [--policy NAME] [--user NAME] [--dry-run|--explain] [--plan FILE]" \
    " [--mounts WHO] [--share-gpu] -- CMD [ARGS...]\n"

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
    "  --mounts WHO      who mounts what restricts: inner (default where it can), bwrap, or none:\n"
    "                    no bubblewrap but Landlock alone, where the policy means the same\n"
    "  --share-gpu       start although another sandbox has the GPU for itself: for checks\n"
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
        } else if (strcmp(*word, "--share-gpu") == 0) {
            options->share_gpu = true;
        } else if (strcmp(*word, "--version") == 0) {
            print_and_exit("fleetbox-run " FLEETBOX_VERSION " (plan format " PLAN_FORMAT ")\n");
        } else if (strcmp(*word, "--help") == 0 || strcmp(*word, "-h") == 0) {
            print_and_exit(help);
        } else {
            usage_error(**word == '-' ? "unknown option: " : "put -- before the command: ", *word);
        }
    }
    const char *mounts = options->mounts;
    if (mounts && strcmp(mounts, "inner") != 0 && strcmp(mounts, "bwrap") != 0 && strcmp(mounts, "none") != 0) {
        usage_error("--mounts takes inner, bwrap or none, not ", mounts);
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

static bool asks_for_alone(const struct launch *launch) {
    return launch->options.mounts && strcmp(launch->options.mounts, "none") == 0;
}

static bool only_shows(const struct launch *launch) {
    return launch->options.explain || launch->options.dry_run;
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
    if (!only_shows(launch)) {
        launch->locks = lock_roots(launch->state_dir, &launch->roots);
        if (!asks_for_alone(launch)) {
            start_begin(launch);
        }
    }
    places_find_account(launch);
    collect(launch);
    entries_order(&launch->entries, &launch->roots, launch->plan.root == ROOT_HOST);
    refuse_own_files_in_roots(launch);
    env_build(launch);
    programs_choose(launch);
    launch->new_session = !isatty(STDIN_FILENO);
    launch->host_pids = launch->plan.host_pids && gate_proc_is_masked();
}

/* What is shown without being tried: where no namespace can be made, what would be done then. */
static bool shows_alone(const struct launch *launch) {
    return only_shows(launch) && !launch->options.mounts && !alone_problem(launch) && !gate_has_namespaces();
}

static void choose_alone(struct launch *launch) {
    const char *problem = alone_problem(launch);
    if (problem) {
        refuse("leave --mounts out", "Landlock alone would be less than this policy: %s", problem);
    }
    alone_choose(launch);
}

static void show_bwrap(struct launch *launch) {
    struct bwrap found[BWRAP_CANDIDATES];
    size_t count = bwrap_find(launch, found);
    const struct bwrap *bwrap = &found[bwrap_usable(launch, found, count, 0)];
    int filter = argv_filter(launch);
    if (launch->options.explain) {
        if (bwrap->inner_mounts) {
            frozen_choose(launch);
        }
        show_words(launch, bwrap->path, filter);
        return;
    }
    struct orders orders = {0};
    argv_build(launch, bwrap, false, &orders);
    struct strings line = argv_line(launch, bwrap, &orders);
    show_command(launch, &line, filter);
}

static void show_alone(struct launch *launch) {
    int filter = argv_filter(launch);
    if (launch->options.explain) {
        show_words(launch, NULL, filter);
        return;
    }
    struct orders orders = {0};
    argv_alone(launch, false, &orders);
    struct strings line = argv_line(launch, NULL, &orders);
    show_command(launch, &line, filter);
}

static int show(struct launch *launch) {
    if (asks_for_alone(launch) || shows_alone(launch)) {
        choose_alone(launch);
        show_alone(launch);
    } else {
        show_bwrap(launch);
    }
    return fflush(stdout) == 0 ? 0 : EXIT_REFUSED;
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
    if (only_shows(&launch)) {
        return show(&launch);
    }
    if (asks_for_alone(&launch)) {
        choose_alone(&launch);
        return start_alone(&launch);
    }
    return start_in_bwrap(&launch);
}
