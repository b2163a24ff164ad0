#include "help.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "control.h"
#include "mem.h"
#include "refuse.h"

enum { HELP_LIMIT = 64 * 1024, HELP_SECONDS = 5 };

/* In a group of its own, so that what it starts can be ended with it; by descriptor, as the sandbox is started. */
static int start(const struct bwrap *bwrap, int output, pid_t *pid) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    posix_spawn_file_actions_adddup2(&actions, bwrap->fd, FD_BWRAP);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    char *argv[] = {(char *)"bwrap", (char *)"--help", NULL};
    char *env[] = {NULL};
    int problem = posix_spawn(pid, mem_text("/proc/self/fd/%d", FD_BWRAP), &actions, &attributes, argv, env);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return problem;
}

static int milliseconds_until(const struct timespec *end) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long left = (end->tv_sec - now.tv_sec) * 1000 + (end->tv_nsec - now.tv_nsec) / 1000000;
    return left > 0 ? (int)left : 0;
}

static const char *read_all(int fd, char *text) {
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += HELP_SECONDS;
    for (size_t have = 0; have < HELP_LIMIT;) {
        struct pollfd ready = {fd, POLLIN, 0};
        int count = poll(&ready, 1, milliseconds_until(&end));
        if (count == 0) {
            return mem_text("does not answer --help within %d seconds", HELP_SECONDS);
        }
        ssize_t got = count > 0 ? read(fd, text + have, HELP_LIMIT - have) : -1;
        if (got < 0 && errno != EINTR) {
            return mem_text("cannot be asked for --help: %s", strerror(errno));
        }
        if (got == 0) {
            text[have] = '\0';
            return NULL;
        }
        have += got > 0 ? (size_t)got : 0;
    }
    return "has no end to its --help";
}

const char *help_read(const struct bwrap *bwrap, const char **text) {
    int pipe_fd[2];
    if (pipe2(pipe_fd, O_CLOEXEC) != 0) {
        refuse("", "cannot make a pipe: %s", strerror(errno));
    }
    pid_t pid;
    int failed = start(bwrap, pipe_fd[1], &pid);
    close(pipe_fd[1]);
    char *answer = mem_take(HELP_LIMIT + 1);
    const char *problem = failed ? mem_text("cannot be run: %s", strerror(failed)) : read_all(pipe_fd[0], answer);
    close(pipe_fd[0]);
    if (!failed) {
        kill(-pid, SIGKILL); /* it has said what it had to say, or never will */
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    *text = answer;
    return problem;
}
