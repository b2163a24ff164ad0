#include "supervise.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup.h"
#include "control.h"
#include "fds.h"
#include "group.h"
#include "late.h"
#include "orders.h"
#include "orphans.h"
#include "refuse.h"

/* How long the inner stage may take to vanish once bwrap is gone. */
enum { LINGER_MS = 5000 };

struct watch {
    const struct launch *launch;
    struct sandbox *sandbox;
    int control;
    int signals;
    bool bwrap_ended;
    bool control_ended;
    int bwrap_status;
    bool started;
    bool cannot_mount;
    bool ended;
    int workload_status;
    int exec_errno;
    int clock; /* later than the inner stage's own, should that be stopped; -1: no limit */
    bool overdue;
    int late; /* denied names that are made or replaced; -1: none to look for */
    bool handed; /* the workload's group has the terminal, or would have if it still ran */
    bool wanted; /* it had it once */
};

/* Blocked here and in bwrap, which would otherwise die of a Ctrl-C before the workload has handled it. On a terminal
 * stopping is the workload's answer to SIGTSTP, after which we stop as well. */
static void handled_signals(sigset_t *set, enum group group) {
    static const int left_alone[] = {SIGTTIN, SIGTTOU, SIGCONT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    sigfillset(set);
    for (size_t i = 0; i < sizeof left_alone / sizeof *left_alone; i++) {
        sigdelset(set, left_alone[i]);
    }
    if (group == GROUP_OWN) {
        sigdelset(set, SIGTSTP);
    }
}

static void block_more(int signal_number) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal_number);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

static void forward(struct watch *watch, const struct signalfd_siginfo *info) {
    /* A key was typed while our group had the terminal, so that the workload's was not told. */
    int type = info->ssi_code == SI_KERNEL ? MESSAGE_KEY : MESSAGE_SIGNAL;
    tell(watch->control, type, (int)info->ssi_signo, NULL);
}

static void read_signal(struct watch *watch) {
    struct signalfd_siginfo info;
    if (read(watch->signals, &info, sizeof info) != sizeof info) {
        return;
    }
    if (info.ssi_signo != SIGCHLD) {
        forward(watch, &info);
    } else if (sandbox_has_ended(watch->sandbox, &watch->bwrap_status)) {
        watch->bwrap_ended = true;
        shutdown(watch->control, SHUT_WR); /* an inner stage that outlived it takes this as our end, and ends too */
        orphans_end();
    }
}

/* The kernel says who sent it, as a process number of ours: the inner stage knows only its own. */
static ssize_t receive(int control, struct message *message, pid_t *sender) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(struct ucred))];
    } from;
    struct iovec part = {message, sizeof *message - 1};
    struct msghdr whole = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &from, .msg_controllen = sizeof from};
    ssize_t length = recvmsg(control, &whole, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    const struct cmsghdr *header = length > 0 ? CMSG_FIRSTHDR(&whole) : NULL;
    if (header && header->cmsg_type == SCM_CREDENTIALS) {
        struct ucred credentials;
        memcpy(&credentials, CMSG_DATA(header), sizeof credentials);
        *sender = credentials.pid;
    }
    return length;
}

static void place_in_cgroup(struct watch *watch, pid_t inner) {
    if (inner <= 0 || !cgroup_place(inner)) {
        int problem = errno;
        sandbox_end(watch->sandbox);
        refuse("look at who may write cgroup.procs there", "cannot put the sandbox into a cgroup below %s: %s",
               watch->launch->limits.cgroup, strerror(problem));
    }
    tell(watch->control, MESSAGE_GO, 0, NULL);
}

/* As the workload was stopped, so are we, for our shell to see; and it goes on when we do. Where we have the terminal
 * and it only asks for it, it gets it. */
static void follow_stop(struct watch *watch, int signal_number) {
    bool asks = signal_number == SIGTTIN || signal_number == SIGTTOU;
    if (asks && group_is_foreground()) {
        watch->handed = true;
    } else if (group_stop()) {
        watch->handed = group_is_foreground() && (watch->wanted || asks);
    } else if (signal_number == SIGSTOP || asks) {
        return;
    }
    watch->wanted = watch->wanted || watch->handed;
    tell(watch->control, MESSAGE_CONTINUE, watch->handed, NULL);
}

static void read_control(struct watch *watch) {
    struct message message;
    pid_t sender = 0;
    ssize_t length = receive(watch->control, &message, &sender);
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (length < (ssize_t)offsetof(struct message, text)) {
        watch->control_ended = true;
        return;
    }
    ((char *)&message)[length] = '\0';
    switch (message.type) {
        case MESSAGE_STARTING:
            watch->started = true;
            if (watch->launch->limits.cgroup) {
                place_in_cgroup(watch, sender);
            }
            break;
        case MESSAGE_OUT_OF_TIME:
            watch->overdue = true;
            warn("the workload had %" PRIu64 " seconds (process.limits.wall) and is being ended", watch->launch->limits.wall);
            break;
        case MESSAGE_CANNOT_MOUNT:
            watch->cannot_mount = true;
            break;
        case MESSAGE_REFUSED:
            sandbox_end(watch->sandbox);
            refuse("look at that path: something else changed it, or an earlier workload prepared it", "%s", message.text);
        case MESSAGE_STOPPED:
            follow_stop(watch, message.value);
            break;
        case MESSAGE_NOT_EXECUTED:
            watch->exec_errno = message.value;
            break;
        case MESSAGE_ENDED:
            watch->ended = true;
            watch->workload_status = message.value;
            sandbox_kill(watch->sandbox); /* bwrap only waits: so it ends beside the namespaces, not after them */
            break;
        default:
            break;
    }
}

static void watch_until_end(struct watch *watch) {
    while (!watch->bwrap_ended || !watch->control_ended) {
        struct pollfd ready[] = {{watch->signals, POLLIN, 0},
                                 {watch->control_ended ? -1 : watch->control, POLLIN, 0},
                                 {watch->clock, POLLIN, 0},
                                 {watch->late, POLLIN, 0}};
        int count = poll(ready, 4, watch->bwrap_ended ? LINGER_MS : -1);
        if (count == 0) {
            return;
        }
        if (ready[1].revents) {
            read_control(watch);
        }
        if (ready[0].revents) {
            read_signal(watch);
        }
        if (ready[3].revents) {
            watch->late = late_look(watch->late);
        }
        if (ready[2].revents) {
            watch->overdue = true;
            watch->clock = -1;
            sandbox_kill(watch->sandbox);
        }
    }
}

static int not_executed(const struct launch *launch, int problem) {
    dprintf(STDERR_FILENO, "fleetbox-run: cannot execute %s: %s\n", launch->options.command[0], strerror(problem));
    if (problem == EACCES && (launch->landlock.layers & LANDLOCK_PROGRAMS)) {
        dprintf(STDERR_FILENO, "  hint: process.allowed_binaries of the policy must list it; --explain shows what it lists here\n");
    }
    return problem == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}

static int backup_clock(const struct launch *launch) {
    if (!launch->limits.wall) {
        return -1;
    }
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)launch->limits.wall + LIMITS_GRACE + 1}};
    int clock = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (clock < 0 || timerfd_settime(clock, 0, &when, NULL) != 0) {
        refuse("", "cannot keep the time of the workload: %s", strerror(errno));
    }
    return clock;
}

/* Whoever shares our group gets what was typed, as it would without us: a loop of a script ends with Ctrl-C, too. */
static void end_job(const struct watch *watch) {
    if (!watch->handed) {
        return;
    }
    group_take_back();
    bool typed = watch->ended && WIFSIGNALED(watch->workload_status) &&
                 (WTERMSIG(watch->workload_status) == SIGINT || WTERMSIG(watch->workload_status) == SIGQUIT);
    if (typed) {
        kill(0, WTERMSIG(watch->workload_status));
    }
}

static int code_of(const struct watch *watch) {
    return watch->overdue ? EXIT_OUT_OF_TIME : exit_code(watch->ended ? watch->workload_status : watch->bwrap_status);
}

/* From here on signals are read in watch_until_end() alone. */
static void take_signals(struct watch *watch) {
    sigset_t handled;
    enum group group = group_here(watch->launch->new_session);
    handled_signals(&handled, group);
    watch->handed = watch->wanted = group == GROUP_FOREGROUND;
    sigprocmask(SIG_BLOCK, &handled, NULL);
    block_more(SIGTTOU); /* or taking the terminal back, and a last word on it, would stop us */
    watch->signals = signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Bubblewrap's first: the inner stage reads its own when it has been made. Until all is written a signal may still end us.
 * What was written in part was no order, and whoever read it must not wait for one. */
static void give_orders(struct watch *watch, const struct orders *orders, int filter) {
    struct sandbox *sandbox = watch->sandbox;
    bool whole = (sandbox->options < 0 || orders_write(sandbox->options, &orders->bwrap)) &&
                 orders_write(sandbox->words, &orders->inner);
    take_signals(watch);
    if (!whole || !orders_send(watch->control, filter)) {
        sandbox_kill(sandbox);
    }
}

struct outcome supervise(const struct launch *launch, struct sandbox *sandbox, const struct orders *orders, int filter) {
    struct watch watch = {.launch = launch, .sandbox = sandbox, .control = sandbox->control};
    watch.clock = backup_clock(launch);
    give_orders(&watch, orders, filter);
    /* Where Landlock is alone what is made later stays closed. */
    watch.late = launch->landlock.layers & LANDLOCK_ALONE ? -1 : late_watch(launch);
    watch_until_end(&watch);
    late_end();
    end_job(&watch);
    close(watch.signals);
    close(watch.control);
    if (watch.exec_errno) {
        return (struct outcome){.started = true, .code = not_executed(launch, watch.exec_errno)};
    }
    return (struct outcome){watch.started, watch.cannot_mount, code_of(&watch)};
}
