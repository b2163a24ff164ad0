#include "group.h"

#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const names[] = {"shared", "own", "background", "foreground"};

bool group_is_foreground(void) {
    return tcgetpgrp(STDIN_FILENO) == getpgrp();
}

/* With a pipe at its output it is part of a pipeline, whose last program, a pager perhaps, reads the terminal. */
enum group group_here(bool new_session) {
    if (new_session || tcgetpgrp(STDIN_FILENO) < 0) {
        return GROUP_OWN;
    }
    return group_is_foreground() && isatty(STDOUT_FILENO) ? GROUP_FOREGROUND : GROUP_BACKGROUND;
}

void group_words(bool new_session, bool controlled, struct strings *argv) {
    if (controlled) {
        strings_add(argv, "--group");
        strings_add(argv, names[group_here(new_session)]);
    }
}

bool group_takes(enum group *group, const char *option, const char *value) {
    if (strcmp(option, "--group") != 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(value, names[i]) == 0) {
            *group = (enum group)i;
        }
    }
    return true;
}

void group_enter(enum group group) {
    if (group != GROUP_SHARED) {
        setpgid(0, 0);
    }
    if (group == GROUP_FOREGROUND) {
        tcsetpgrp(STDIN_FILENO, getpid());
    }
}

void group_continue(pid_t workload, pid_t front, bool foreground) {
    if (foreground && (front <= 0 || tcsetpgrp(STDIN_FILENO, front) != 0)) {
        tcsetpgrp(STDIN_FILENO, workload);
    }
    if (front > 0 && front != workload) {
        kill(-front, SIGCONT);
    }
    kill(-workload, SIGCONT);
}

/* SIGCONT is kept pending meanwhile: it tells a stop that was from one that was not. */
bool group_stop(void) {
    sigset_t stop;
    sigset_t proceed;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    sigemptyset(&proceed);
    sigaddset(&proceed, SIGCONT);
    sigprocmask(SIG_BLOCK, &proceed, NULL);
    signal(SIGTSTP, SIG_DFL);
    kill(0, SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &stop, NULL);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    bool stopped = sigtimedwait(&proceed, NULL, &(struct timespec){0, 0}) == SIGCONT;
    sigprocmask(SIG_UNBLOCK, &proceed, NULL);
    return stopped;
}

void group_take_back(void) {
    if (!group_is_foreground()) {
        tcsetpgrp(STDIN_FILENO, getpgrp());
    }
}
