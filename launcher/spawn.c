#include "spawn.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control.h"
#include "fds.h"
#include "orphans.h"
#include "refuse.h"
#include "signals.h"

static struct sandbox running;

/* A socket's two ends, ours first. */
struct channel {
    int ours;
    int theirs;
};

static struct channel open_channel(int type) {
    int pair[2];
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) != 0) {
        refuse("", "cannot make a socket for the sandbox: %s", strerror(errno));
    }
    return (struct channel){fd_high(pair[0]), fd_high(pair[1])};
}

static void pass_on(posix_spawn_file_actions_t *actions, int fd, int as) {
    if (fd >= 0 && posix_spawn_file_actions_adddup2(actions, fd, as) != 0) {
        refuse("", "cannot prepare the descriptors of the sandbox");
    }
}

/* Inherited as ignored it would let nobody wait for what we start; and its end must not be missed while nobody does. */
static void keep_child_signal(void) {
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    signal(SIGCHLD, SIG_DFL);
}

/* Nothing of our caller's environment: it could make the dynamic loader run something else in bwrap. */
static int execute(int program_as, const char *const *argv, posix_spawn_file_actions_t *actions, pid_t *pid) {
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t all;
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &all);
    sigset_t taken = signals_taken();
    posix_spawnattr_setsigdefault(&attributes, &taken);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    char *no_environment[] = {NULL};
    int problem = posix_spawn(pid, mem_text("/proc/self/fd/%d", program_as), actions, &attributes, (char *const *)argv,
                              no_environment);
    posix_spawnattr_destroy(&attributes);
    return problem;
}

static void end_running(void) {
    sandbox_end(&running);
}

static struct sandbox *spawn(const struct launch *launch, const struct bwrap *bwrap, const char *const *argv) {
    static bool registered;
    struct channel control = open_channel(SOCK_SEQPACKET);
    struct channel words = open_channel(SOCK_STREAM);
    struct channel options = bwrap ? open_channel(SOCK_STREAM) : (struct channel){-1, -1};
    if (launch->limits.cgroup) {
        setsockopt(control.ours, SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int));
    }
    keep_child_signal();
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    pass_on(&actions, control.theirs, FD_CONTROL);
    pass_on(&actions, launch->files.self, FD_SELF);
    pass_on(&actions, launch->locks, FD_LOCK);
    pass_on(&actions, bwrap ? bwrap->fd : -1, FD_BWRAP);
    pass_on(&actions, options.theirs, FD_OPTIONS);
    pass_on(&actions, words.theirs, FD_WORDS);
    if (!registered) {
        registered = true;
        atexit(end_running);
    }
    running = (struct sandbox){.control = control.ours, .options = options.ours, .words = words.ours};
    int problem = execute(bwrap ? FD_BWRAP : FD_SELF, argv, &actions, &running.pid);
    posix_spawn_file_actions_destroy(&actions);
    if (problem) {
        running.pid = 0;
        refuse(bwrap ? "install bubblewrap for this machine" : "", "cannot run %s: %s",
               bwrap ? bwrap->path : launch->files.self_path, strerror(problem));
    }
    orphans_adopt(!bwrap); /* in time: it waits for its orders */
    close(control.theirs); /* or the end of the sandbox would never be seen */
    close(words.theirs);
    if (bwrap) {
        close(options.theirs);
    }
    return &running;
}

struct sandbox *spawn_bwrap(const struct launch *launch, const struct bwrap *bwrap) {
    const char *argv[] = {"bwrap", "--args", mem_text("%d", FD_OPTIONS), "--", mem_text("/proc/self/fd/%d", FD_SELF),
                          "--inner", "--control-fd", mem_text("%d", FD_CONTROL), NULL};
    return spawn(launch, bwrap, argv);
}

struct sandbox *spawn_alone(const struct launch *launch) {
    const char *argv[] = {"fleetbox-run", "--inner", "--control-fd", mem_text("%d", FD_CONTROL), NULL};
    return spawn(launch, NULL, argv);
}

bool sandbox_has_ended(struct sandbox *sandbox, int *status) {
    if (sandbox->pid && waitpid(sandbox->pid, status, WNOHANG) == sandbox->pid) {
        sandbox->pid = 0;
    }
    return !sandbox->pid;
}

void sandbox_kill(const struct sandbox *sandbox) {
    if (sandbox->pid) { /* 0 would be our own group */
        kill(sandbox->pid, SIGKILL);
    }
}

void sandbox_end(struct sandbox *sandbox) {
    if (sandbox->pid) {
        sandbox_kill(sandbox);
        waitpid(sandbox->pid, NULL, 0);
        sandbox->pid = 0;
        orphans_end();
    }
}
