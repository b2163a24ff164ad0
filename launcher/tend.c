/* The workload's start, and what process 1 of the sandbox does until its end. */
#include "tend.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control.h"
#include "refuse.h"
#include "small.h"

enum { REAP_AT_ONCE = 64 };

static bool is_on_path(const char *command) {
    const char *path = getenv("PATH");
    while (path && *path) {
        char candidate[4096];
        struct stat st;
        int length = (int)strcspn(path, ":");
        int written = snprintf(candidate, sizeof candidate, "%.*s/%s", length, path, command);
        if (written > 0 && written < (int)sizeof candidate && stat(candidate, &st) == 0) {
            return true;
        }
        path += length + (path[length] == ':');
    }
    return false;
}

/* One directory of PATH that cannot be searched must not turn "not found" into "permission denied". */
static int as_shells_say(const char *command, int problem) {
    bool searched = problem == EACCES && !strchr(command, '/');
    return searched && !is_on_path(command) ? ENOENT : problem;
}

bool tend_takes(struct tend *tend, const char *option, char *value) {
    return landlock_takes(&tend->landlock, option, value) || limits_takes(&tend->limits, option, value) ||
           group_takes(&tend->group, option, value);
}

static void restore_signals(const struct tend *tend) {
    sigset_t mask;
    sigemptyset(&mask);
    for (int signal_number = 1; signal_number <= 64; signal_number++) {
        if (tend->blocked >> (signal_number - 1) & 1) {
            sigaddset(&mask, signal_number);
        }
    }
    sigprocmask(SIG_SETMASK, &mask, NULL);
}

static bool is_alone(const struct tend *tend) {
    return tend->landlock.layers & LANDLOCK_ALONE;
}

static void enter(const struct tend *tend, int ruleset) {
    if (ruleset >= 0 && !landlock_enter(ruleset)) {
        give_up(tend->control, "the kernel does not take the Landlock ruleset: %s", strerror(errno));
    }
}

/* Without any namespace the inner stage binds itself, too, in a domain around the workload's: its kill(-1) then reaches the
 * workload's processes, all of them at once so that none can fork away, and nobody else's. */
static void enter_alone(struct tend *tend, int ruleset) {
    enter(tend, ruleset);
    if (kill(getppid(), 0) == 0) {
        give_up(tend->control, "Landlock does not keep signals inside");
    }
    tend->bound = true;
}

/* The workload's side of vfork: our memory is its own until it is executed. Only here is its Landlock domain entered: the
 * inner stage stays outside of it, where the workload can neither signal nor trace it, also without a PID namespace. */
static _Noreturn void become_workload(struct tend *tend, int ruleset) {
    if (!limits_enter(&tend->limits)) {
        give_up(tend->control, "the kernel does not take the limits of the policy: %s", strerror(errno));
    }
    enter(tend, ruleset);
    if (is_alone(tend)) { /* the inner stage may be killed from outside */
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    }
    group_enter(tend->group);
    restore_signals(tend);
    execvp(tend->command[0], tend->command);
    tend->exec_errno = as_shells_say(tend->command[0], errno);
    _exit(EXIT_NOT_EXECUTABLE);
}

/* 0, or why the command could not be executed. Without vfork the copy of our tables is 1.5 % of a launch. */
static int execute(struct tend *tend) {
    int ruleset = landlock_rules(&tend->landlock, tend->control);
    if (is_alone(tend)) {
        enter_alone(tend, ruleset);
    }
    pid_t pid = vfork();
    if (pid == 0) {
        become_workload(tend, ruleset);
    }
    if (pid < 0) {
        give_up(tend->control, "cannot start the workload: %s", strerror(errno));
    }
    tend->workload = pid;
    return tend->exec_errno;
}

/* Everything that is left. As process 1 of its namespace the kernel does it at our exit; with the host's
 * processes in sight only our own descendants may be meant, and those come to us one by one. */
static void end_descendants(const struct tend *tend) {
    if (getpid() == 1) {
        return;
    }
    kill(tend->bound ? -1 : tend->workload, SIGKILL);
    char children[4096];
    while (small_read_children(children, sizeof children) > 0) {
        char *end;
        for (char *at = children; strtol(at, &end, 10) > 0; at = end) {
            kill((pid_t)strtol(at, NULL, 10), SIGKILL);
        }
        waitpid(-1, NULL, 0);
    }
}

static void set_clock(const struct tend *tend, uint64_t seconds) {
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)seconds}};
    if (tend->clock < 0 || timerfd_settime(tend->clock, 0, &when, NULL) != 0) {
        give_up(tend->control, "cannot keep the time of the workload: %s", strerror(errno));
    }
}

static void read_control(const struct tend *tend) {
    struct message message;
    ssize_t length = recv(tend->control, &message, sizeof message, MSG_DONTWAIT);
    if (length == 0) { /* the launcher is gone, and the sandbox goes with it */
        end_descendants(tend);
        _exit(EXIT_SIGNAL_BASE + SIGKILL);
    }
    if (length < (ssize_t)offsetof(struct message, text)) {
        return;
    }
    if (message.type == MESSAGE_SIGNAL) {
        kill(tend->workload, message.value);
    } else if (message.type == MESSAGE_KEY) {
        kill(tend->group == GROUP_SHARED ? tend->workload : -tend->workload, message.value);
    } else if (message.type == MESSAGE_CONTINUE) {
        group_continue(tend->workload, tend->front, message.value);
    }
}

/* Only on a terminal somebody is there who would continue it. */
static void tell_stop(struct tend *tend, int signal_number) {
    if (tend->group == GROUP_BACKGROUND || tend->group == GROUP_FOREGROUND) {
        tend->front = tcgetpgrp(STDIN_FILENO); /* 0 where that group is none of the sandbox */
        tell(tend->control, MESSAGE_STOPPED, signal_number, NULL);
    }
}

enum reaped { NOTHING_LEFT, MORE_TO_COME, WORKLOAD_ENDED };

/* A few at a time: processes that end or stop without end must not keep us from the clock and the launcher. */
static enum reaped reap(struct tend *tend, int *status) {
    for (int i = 0; i < REAP_AT_ONCE; i++) {
        int any;
        pid_t pid = waitpid(-1, &any, WNOHANG | WUNTRACED);
        if (pid <= 0) {
            return NOTHING_LEFT;
        }
        if (pid == tend->workload && WIFSTOPPED(any)) {
            tell_stop(tend, WSTOPSIG(any));
        } else if (pid == tend->workload) {
            *status = any;
            return WORKLOAD_ENDED;
        }
    }
    return MORE_TO_COME;
}

/* First asked to end, then ended: kill(-1) reaches everything in the PID namespace, or in our domain, but ourselves. */
static void out_of_time(struct tend *tend) {
    if (tend->overdue) {
        tend->clock = -1;
        kill(getpid() == 1 || tend->bound ? -1 : tend->workload, SIGKILL);
        return;
    }
    tend->overdue = true;
    tell(tend->control, MESSAGE_OUT_OF_TIME, 0, NULL);
    kill(tend->workload, SIGTERM);
    kill(tend->workload, SIGCONT); /* a stopped one would not see it */
    set_clock(tend, LIMITS_GRACE);
}

static int wait_for_workload(struct tend *tend, int children) {
    int status = 0;
    for (enum reaped reaped; (reaped = reap(tend, &status)) != WORKLOAD_ENDED;) {
        struct pollfd ready[] = {{children, POLLIN, 0}, {tend->control, POLLIN, 0}, {tend->clock, POLLIN, 0}};
        if (poll(ready, 3, reaped == MORE_TO_COME ? 0 : -1) <= 0) {
            continue;
        }
        if (ready[2].revents) {
            out_of_time(tend);
        }
        struct signalfd_siginfo info;
        if (ready[0].revents && read(children, &info, sizeof info) < 0) {
            continue;
        }
        if (ready[1].revents) {
            read_control(tend);
        }
    }
    return status;
}

/* The parent moves us into the cgroup of the launch; whatever we start from then on begins there. */
static void wait_for_cgroup(struct tend *tend) {
    struct message message = {.type = tend->limits.waits ? MESSAGE_SIGNAL : MESSAGE_GO};
    while (message.type != MESSAGE_GO) {
        if (recv(tend->control, &message, sizeof message, 0) < (ssize_t)offsetof(struct message, text)) {
            _exit(EXIT_SIGNAL_BASE + SIGKILL);
        }
        tend->early = message.type == MESSAGE_GO ? tend->early : message.value;
    }
}

static int watch_children(void) {
    sigset_t all;
    sigset_t child;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    signal(SIGCHLD, SIG_DFL);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    return signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

void tend_workload(struct tend *tend) {
    if (getpid() != 1) {
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    }
    int children = watch_children();
    if (!tell(tend->control, MESSAGE_STARTING, 0, NULL)) {
        _exit(EXIT_SIGNAL_BASE + SIGKILL); /* as when it goes away later */
    }
    wait_for_cgroup(tend);
    int problem = execute(tend);
    if (problem) {
        if (tend->control < 0) {
            dprintf(STDERR_FILENO, "fleetbox-run: cannot execute %s: %s\n", tend->command[0], strerror(problem));
        }
        tell(tend->control, MESSAGE_NOT_EXECUTED, problem, NULL);
        _exit(problem == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
    }
    if (tend->limits.wall) {
        tend->clock = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        set_clock(tend, tend->limits.wall);
    }
    if (tend->early) {
        kill(tend->workload, tend->early);
    }
    int status = wait_for_workload(tend, children);
    end_descendants(tend);
    tell(tend->control, MESSAGE_ENDED, status, NULL);
    _exit(tend->overdue ? EXIT_OUT_OF_TIME : exit_code(status));
}
