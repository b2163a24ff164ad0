/* Runs inside the sandbox, after every mount and before the workload: verifies what keeps the workload out,
 * loads the filter; the rest is tend.c. */
#include "inner.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "caps.h"
#include "carve.h"
#include "control.h"
#include "fds.h"
#include "mounts.h"
#include "orders.h"
#include "tend.h"

extern char **environ;

enum { FILTER_LIMIT = 4096 };

struct inner {
    struct tend tend;
    int filter;
    struct strings env; /* what is added to the environment, or all of it with a launcher */
    bool carves; /* else bwrap has mounted everything */
    bool new_session; /* which is bwrap's to make, where there is one */
    struct jobs jobs;
    const char *start_dir; /* entered once everything is mounted: before, it may lie below what covers it now */
    char **expect; /* option, identity and path, as they stand in argv */
    size_t expected;
};

static int number(const struct inner *inner, const char *text) {
    char *end;
    long value = text ? strtol(text, &end, 10) : -1;
    if (!text || *end || value < 0 || value > 9) {
        give_up(inner->tend.control, "the inner stage was started with a bad argument");
    }
    return (int)value;
}

static void parse(struct inner *inner, char **argv) {
    for (; *argv && strcmp(*argv, "--") != 0; argv += 2) {
        if (!argv[1]) {
            give_up(inner->tend.control, "the inner stage was started with a bad argument");
        }
        if (strcmp(*argv, "--control-fd") == 0) {
            inner->tend.control = number(inner, argv[1]);
        } else if (strcmp(*argv, "--filter-fd") == 0) {
            inner->filter = number(inner, argv[1]);
        } else if (strcmp(*argv, "--blocked-signals") == 0) {
            inner->tend.blocked = strtoull(argv[1], NULL, 16);
        } else if (strcmp(*argv, "--chdir") == 0) {
            inner->start_dir = argv[1];
        } else if (strcmp(*argv, "--session") == 0) {
            inner->new_session = strcmp(argv[1], "new") == 0;
        } else if (strcmp(*argv, "--env") == 0) {
            strings_add(&inner->env, argv[1]);
        } else if (strcmp(*argv, "--mounts") == 0 && mountlist_read(&inner->jobs, argv[1])) {
            inner->carves = true;
        } else if ((strcmp(*argv, "--expect") == 0 || strcmp(*argv, "--pinned") == 0) && argv[2]) {
            inner->expect = inner->expect ? inner->expect : argv;
            inner->expected++;
            argv++;
        } else if (!tend_takes(&inner->tend, argv[0], argv[1])) {
            give_up(inner->tend.control, "the inner stage was started with a bad argument");
        }
    }
    inner->tend.command = *argv ? argv + 1 : NULL;
}

/* With a launcher the command line says where it listens, and no more. */
static void take_orders(struct inner *inner, char **argv) {
    parse(inner, argv);
    if (inner->tend.control >= 0) {
        parse(inner, orders_receive(inner->tend.control, &inner->filter));
        environ = (char **)inner->env.item;
    }
    for (size_t i = 0; inner->tend.control < 0 && i < inner->env.count; i++) {
        putenv((char *)inner->env.item[i]);
    }
    if (!inner->tend.command || !inner->tend.command[0]) {
        give_up(inner->tend.control, "the inner stage was started without a command");
    }
}

static void verify(const struct inner *inner) {
    for (size_t i = 0; i < inner->expected; i++) {
        const char *const *words = (const char *const *)inner->expect + 3 * i;
        bool pinned = strcmp(words[0], "--pinned") == 0;
        const char *problem = mount_problem(words[2], words[1], !pinned);
        if (problem) {
            give_up(inner->tend.control, "%s is not protected as it should be: %s", words[2], problem);
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
        give_up(inner->tend.control, "the seccomp filter is not a whole filter: %zu bytes", have);
    }
    struct sock_fprog program = {(unsigned short)count, code};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
        give_up(inner->tend.control, "the kernel does not take the seccomp filter: %s", strerror(errno));
    }
}

static void enter_start_dir(const struct inner *inner) {
    if (inner->start_dir && chdir(inner->start_dir) != 0) {
        give_up(inner->tend.control, "cannot work in %s: %s", inner->start_dir, strerror(errno));
    }
}

/* A printed command is the leader of its shell's job, and only who leads nothing can make a session. */
static void leave_terminal(const struct inner *inner) {
    if (!inner->new_session) {
        return;
    }
    pid_t pid = getpgrp() == getpid() ? fork() : 0;
    if (pid > 0) {
        int status = 0;
        waitpid(pid, &status, 0);
        _exit(exit_code(status));
    }
    if (pid < 0 || setsid() < 0) {
        give_up(inner->tend.control, "cannot leave the terminal: %s", strerror(errno));
    }
}

static void give_up_capabilities(const struct inner *inner) {
    const char *problem = caps_drop(!(inner->tend.landlock.layers & LANDLOCK_ALONE));
    if (problem) {
        give_up(inner->tend.control, "cannot give up all privileges: %s", problem);
    }
}

void inner_main(char **argv) {
    struct inner inner = {.tend = {.control = -1, .clock = -1}, .filter = -1};
    /* From here on the workload's user cannot open our descriptors or memory through /proc/1. */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    close_on_exec_from(3);
    take_orders(&inner, argv);
    if (inner.carves) {
        carve(inner.tend.control, &inner.jobs);
    }
    verify(&inner);
    leave_terminal(&inner);
    enter_start_dir(&inner);
    give_up_capabilities(&inner);
    load_filter(&inner);
    close(inner.filter);
    tend_workload(&inner.tend);
}
