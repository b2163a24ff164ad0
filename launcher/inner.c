/* Runs inside the sandbox, after every mount and before the workload: verifies what keeps the workload out,
 * loads the filter, executes the workload and stays as process 1, which nothing inside can kill or trace. */
#include "inner.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control.h"
#include "fds.h"
#include "mounts.h"
#include "refuse.h"

enum { FILTER_LIMIT = 4096 };

extern char **environ;

struct inner {
    int control; /* -1: nobody listens, messages go to stderr */
    int filter;
    uint64_t blocked;
    char **expect; /* option, identity and path, as they stand in argv */
    size_t expected;
    char **command;
    pid_t workload;
};

static void tell(const struct inner *inner, int type, int value, const char *text) {
    struct message message = {.type = type, .value = value};
    size_t length = text ? strlen(text) : 0;
    if (length > sizeof message.text) {
        length = sizeof message.text;
    }
    if (length) {
        memcpy(message.text, text, length);
    }
    if (inner->control >= 0) {
        send(inner->control, &message, offsetof(struct message, text) + length, MSG_NOSIGNAL);
    }
}

__attribute__((format(printf, 2, 3))) static _Noreturn void give_up(const struct inner *inner, const char *format, ...) {
    char text[sizeof ((struct message *)0)->text];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (inner->control < 0) {
        dprintf(STDERR_FILENO, "fleetbox-run: %s\n", text);
    }
    tell(inner, MESSAGE_REFUSED, 0, text);
    _exit(EXIT_REFUSED);
}

static int number(const struct inner *inner, const char *text) {
    char *end;
    long value = text ? strtol(text, &end, 10) : -1;
    if (!text || *end || value < 0 || value > 9) {
        give_up(inner, "the inner stage was started with a bad argument");
    }
    return (int)value;
}

static void parse(struct inner *inner, char **argv) {
    for (; *argv && strcmp(*argv, "--") != 0; argv += 2) {
        if (!argv[1]) {
            give_up(inner, "the inner stage was started with a bad argument");
        }
        if (strcmp(*argv, "--control-fd") == 0) {
            inner->control = number(inner, argv[1]);
        } else if (strcmp(*argv, "--filter-fd") == 0) {
            inner->filter = number(inner, argv[1]);
        } else if (strcmp(*argv, "--blocked-signals") == 0) {
            inner->blocked = strtoull(argv[1], NULL, 16);
        } else if ((strcmp(*argv, "--expect") == 0 || strcmp(*argv, "--pinned") == 0) && argv[2]) {
            inner->expect = inner->expect ? inner->expect : argv;
            inner->expected++;
            argv++;
        } else {
            give_up(inner, "the inner stage was started with a bad argument");
        }
    }
    if (!*argv || !argv[1]) {
        give_up(inner, "the inner stage was started without a command");
    }
    inner->command = argv + 1;
}

static void verify(const struct inner *inner) {
    for (size_t i = 0; i < inner->expected; i++) {
        const char *const *words = (const char *const *)inner->expect + 3 * i;
        bool pinned = strcmp(words[0], "--pinned") == 0;
        const char *problem = mount_problem(words[2], words[1], !pinned);
        if (problem) {
            give_up(inner, "%s is not protected as it should be: %s", words[2], problem);
        }
    }
}

static void load_filter(const struct inner *inner) {
    static struct sock_filter code[FILTER_LIMIT + 1];
    size_t have = 0;
    ssize_t got;
    while ((got = pread(inner->filter, (char *)code + have, sizeof code - have, (off_t)have)) > 0) {
        have += (size_t)got;
    }
    size_t count = have / sizeof *code;
    if (got < 0 || count == 0 || count > FILTER_LIMIT || have % sizeof *code != 0) {
        give_up(inner, "the seccomp filter is not a whole filter: %zu bytes", have);
    }
    struct sock_fprog program = {(unsigned short)count, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
        give_up(inner, "the kernel does not take the seccomp filter: %s", strerror(errno));
    }
}

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

static int execute(struct inner *inner) {
    posix_spawnattr_t attributes;
    sigset_t mask;
    sigemptyset(&mask);
    for (int signal_number = 1; signal_number <= 64; signal_number++) {
        if (inner->blocked >> (signal_number - 1) & 1) {
            sigaddset(&mask, signal_number);
        }
    }
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &mask);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    int problem = posix_spawnp(&inner->workload, inner->command[0], NULL, &attributes, inner->command, environ);
    posix_spawnattr_destroy(&attributes);
    return as_shells_say(inner->command[0], problem);
}

/* Everything that is left. As process 1 of its namespace the kernel does it at our exit; with the host's
 * processes in sight only our own descendants may be meant, and those come to us one by one. */
static void end_descendants(const struct inner *inner) {
    if (getpid() == 1) {
        return;
    }
    kill(inner->workload, SIGKILL);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    for (;;) {
        char children[4096];
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t length = fd < 0 ? -1 : read(fd, children, sizeof children - 1);
        if (fd >= 0) {
            close(fd);
        }
        if (length <= 0) {
            return;
        }
        children[length] = '\0';
        char *end;
        for (char *at = children; strtol(at, &end, 10) > 0; at = end) {
            kill((pid_t)strtol(at, NULL, 10), SIGKILL);
        }
        waitpid(-1, NULL, 0);
    }
}

static void read_control(const struct inner *inner) {
    struct message message;
    ssize_t length = recv(inner->control, &message, sizeof message, MSG_DONTWAIT);
    if (length == 0) { /* the launcher is gone, and the sandbox goes with it */
        end_descendants(inner);
        _exit(EXIT_SIGNAL_BASE + SIGKILL);
    }
    if (length >= (ssize_t)offsetof(struct message, text) && message.type == MESSAGE_SIGNAL) {
        kill(inner->workload, message.value);
    }
}

/* Reaps everything; true once the workload itself has ended. */
static bool reap(const struct inner *inner, int *status) {
    int any;
    for (pid_t pid; (pid = waitpid(-1, &any, WNOHANG)) > 0;) {
        if (pid == inner->workload) {
            *status = any;
            return true;
        }
    }
    return false;
}

static int wait_for_workload(const struct inner *inner, int children) {
    int status = 0;
    while (!reap(inner, &status)) {
        struct pollfd ready[] = {{children, POLLIN, 0}, {inner->control, POLLIN, 0}};
        if (poll(ready, 2, -1) <= 0) {
            continue;
        }
        struct signalfd_siginfo info;
        if (ready[0].revents && read(children, &info, sizeof info) < 0) {
            continue;
        }
        if (ready[1].revents) {
            read_control(inner);
        }
    }
    return status;
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

void inner_main(char **argv) {
    struct inner inner = {.control = -1, .filter = -1};
    parse(&inner, argv);
    /* From here on the workload's user cannot open our descriptors or memory through /proc/1. */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    close_on_exec_from(3);
    verify(&inner);
    load_filter(&inner);
    close(inner.filter);
    if (getpid() != 1) {
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        if (inner.control >= 0) { /* dying with bwrap would leave the others running; the control socket tells us */
            prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
        }
    }
    int children = watch_children();
    tell(&inner, MESSAGE_STARTING, 0, NULL);
    int problem = execute(&inner);
    if (problem) {
        if (inner.control < 0) {
            dprintf(STDERR_FILENO, "fleetbox-run: cannot execute %s: %s\n", inner.command[0], strerror(problem));
        }
        tell(&inner, MESSAGE_NOT_EXECUTED, problem, NULL);
        _exit(problem == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
    }
    int status = wait_for_workload(&inner, children);
    end_descendants(&inner);
    tell(&inner, MESSAGE_ENDED, status, NULL);
    _exit(exit_code(status));
}
